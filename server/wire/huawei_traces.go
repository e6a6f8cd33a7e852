package wire

import "encoding/json"

// ListTracesRequest are the arguments of a query for traces (v3 and before).
type ListTracesRequest struct {
	Sequenced
	TraceType    string  `json:"trace_type,omitempty"` // system or data
	Limit        FlexInt `json:"limit,omitzero"`
	From         FlexInt `json:"from,omitzero"` // Unix milliseconds, exclusive, together with To
	To           FlexInt `json:"to,omitzero"`
	Next         string  `json:"next,omitempty"` // marker of the page before
	TrackerName  string  `json:"tracker_name,omitempty"`
	ServiceType  string  `json:"service_type,omitempty"`
	User         string  `json:"user,omitempty"`
	ResourceID   string  `json:"resource_id,omitempty"`
	ResourceName string  `json:"resource_name,omitempty"`
	ResourceType string  `json:"resource_type,omitempty"`
	TraceID      string  `json:"trace_id,omitempty"`
	TraceName    string  `json:"trace_name,omitempty"`
	TraceRating  string  `json:"trace_rating,omitempty"`
	AccessKeyID  string  `json:"access_key_id,omitempty"`
	Enterprise   string  `json:"enterprise_project_id,omitempty"`

	// Extensions.
	RequestID string  `json:"request_id,omitempty"`
	SourceIP  string  `json:"source_ip,omitempty"`
	UserID    string  `json:"user_id,omitempty"`
	Code      string  `json:"code,omitempty"`    // HTTP status
	NodeID    string  `json:"node_id,omitempty"` // traces of one node
	Scope     string  `json:"scope,omitempty"`   // all: of every project and of the cluster
	Wait      FlexInt `json:"wait,omitzero"`     // seconds for the first trace, of those who follow
}

func (r *ListTracesRequest) member(name, raw []byte) error {
	switch string(name) {
	case "limit":
		return r.Limit.set(name, raw)
	case "from":
		return r.From.set(name, raw)
	case "to":
		return r.To.set(name, raw)
	case "wait":
		return r.Wait.set(name, raw)
	}
	texts := [...]struct {
		name string
		into *string
	}{
		{"trace_type", &r.TraceType}, {"next", &r.Next}, {"tracker_name", &r.TrackerName}, {"service_type", &r.ServiceType},
		{"user", &r.User}, {"resource_id", &r.ResourceID}, {"resource_name", &r.ResourceName}, {"resource_type", &r.ResourceType},
		{"trace_id", &r.TraceID}, {"trace_name", &r.TraceName}, {"trace_rating", &r.TraceRating}, {"access_key_id", &r.AccessKeyID},
		{"request_id", &r.RequestID}, {"enterprise_project_id", &r.Enterprise},
		{"source_ip", &r.SourceIP}, {"user_id", &r.UserID}, {"code", &r.Code}, {"node_id", &r.NodeID}, {"scope", &r.Scope},
	}
	for _, t := range texts {
		if t.name == string(name) {
			return setText(t.into, name, raw)
		}
	}
	return r.Sequenced.member(name, raw)
}

// Trace is a trace as the trace service shows it. Request and Response are
// strings that hold JSON.
type Trace struct {
	TraceID      string     `json:"trace_id"`
	TraceName    string     `json:"trace_name"`
	TraceRating  string     `json:"trace_rating"`
	TraceStatus  string     `json:"trace_status"` // the rating again, for clients of old
	TraceType    string     `json:"trace_type"`
	ServiceType  string     `json:"service_type"`
	ResourceType string     `json:"resource_type"`
	ResourceID   string     `json:"resource_id"`
	ResourceName string     `json:"resource_name"`
	SourceIP     string     `json:"source_ip"`
	Request      string     `json:"request"`
	Response     string     `json:"response"`
	Code         string     `json:"code"`
	ErrorCode    string     `json:"error_code,omitempty"` // an extension
	APIVersion   string     `json:"api_version"`
	Message      string     `json:"message"`
	RequestID    string     `json:"request_id"`
	LocationInfo string     `json:"location_info"`
	Endpoint     string     `json:"endpoint"`
	ResourceURL  string     `json:"resource_url"`
	Time         int64      `json:"time"`        // Unix milliseconds
	RecordTime   int64      `json:"record_time"` // Unix milliseconds
	User         *TraceUser `json:"user"`
	ReadOnly     bool       `json:"read_only"`
	OperationID  string     `json:"operation_id"`
	// Everything is of the default enterprise project; the account is that of
	// the project of what was asked for.
	EnterpriseID string `json:"enterprise_project_id"`
	AccountID    string `json:"resource_account_id,omitempty"`
	NodeID       string `json:"node_id,omitempty"`     // an extension: which node answered
	UserAgent    string `json:"user_agent,omitempty"`  // an extension
	DurationUS   int64  `json:"duration_us,omitempty"` // an extension: microseconds
	ProjectID    string `json:"project_id,omitempty"`  // an extension
	// The other key of an operation with two; an extension.
	OtherID string `json:"second_resource_id,omitempty"`
}

// TraceUser is who asked.
type TraceUser struct {
	ID          string       `json:"id"`
	Name        string       `json:"name"`
	UserName    string       `json:"user_name"`
	Domain      *TraceDomain `json:"domain,omitempty"`
	AccountID   string       `json:"account_id,omitempty"`
	PrincipalID string       `json:"principal_id,omitempty"`
	AccessKeyID string       `json:"access_key_id,omitempty"`
}

// TraceDomain is the account of who asked.
type TraceDomain struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// ListTracesReply answers a query for traces.
type ListTracesReply struct {
	Traces   []Trace       `json:"traces"`
	MetaData TraceMetaData `json:"meta_data"`
}

// TraceMetaData says how far an answer goes.
type TraceMetaData struct {
	Count  int     `json:"count"`
	Marker *string `json:"marker"` // of the next page; null when there is none
	// MissingNodes are members whose traces are not in the answer, because they
	// could not be asked. An extension.
	MissingNodes []string `json:"missing_nodes,omitempty"`
	// Damaged names what could not be searched, or is not as it was written. An
	// extension.
	Damaged []string `json:"damaged,omitempty"`
}

// AppendJSON implements [Reply]. Traces hold no secret, so that any encoder does.
func (r ListTracesReply) AppendJSON(dst []byte) []byte {
	text, err := json.Marshal(r)
	if err != nil {
		panic(err) // strings and numbers have a form
	}
	return append(dst, text...)
}
