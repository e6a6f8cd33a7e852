package audit

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/raftkms/raftkms/server/wire"
)

// shown is a record as lines hold it.
type shown struct {
	TraceName    string          `json:"trace_name"`
	Rating       string          `json:"trace_rating"`
	Type         string          `json:"trace_type"`
	Service      string          `json:"service_type"`
	ResourceType string          `json:"resource_type"`
	ResourceID   string          `json:"resource_id"`
	ResourceName string          `json:"resource_name"`
	ResourceURL  string          `json:"resource_url"`
	SourceIP     string          `json:"source_ip"`
	UserAgent    string          `json:"user_agent"`
	RequestID    string          `json:"request_id"`
	NodeID       string          `json:"node_id"`
	ProjectID    string          `json:"project_id"`
	OtherID      string          `json:"second_resource_id"`
	User         *shownUser      `json:"user"`
	Code         string          `json:"code"`
	ErrorCode    string          `json:"error_code"`
	Message      string          `json:"message"`
	ReadOnly     bool            `json:"read_only"`
	Request      json.RawMessage `json:"request"`
	Response     json.RawMessage `json:"response"`
	Time         int64           `json:"time"`
	RecordTime   int64           `json:"record_time"`
	DurationUS   int64           `json:"duration_us"`
}

type shownUser struct {
	ID          string            `json:"id"`
	Name        string            `json:"name"`
	Domain      *wire.TraceDomain `json:"domain"`
	AccessKeyID string            `json:"access_key_id"`
}

// defaultEnterprise is the id of the enterprise project that everything is of.
const defaultEnterprise = "0"

// ShowIn is [Found.Show] for who looks through a project (empty: through all of
// them). A trace of another project is there because a key of this one was used:
// of who did that, they learn the ids of user and account and the address, as
// the grant that allowed it would have them, and not what the other account
// calls its own.
func (f *Found) ShowIn(projectID string) (wire.Trace, error) {
	t, err := f.Show()
	if err != nil || projectID == "" || t.ProjectID == projectID {
		return t, err
	}
	t.ProjectID, t.ResourceName, t.ResourceURL, t.RequestID, t.UserAgent = projectID, "", "", "", ""
	t.User.Name, t.User.UserName, t.User.AccessKeyID = "", "", ""
	if t.User.Domain != nil {
		t.User.Domain.Name = ""
	}
	return t, nil
}

// Show brings a trace into the form of the trace service. What follows from
// other fields is not in a line, and made here: the ids of trace and operation,
// the version of the API.
func (f *Found) Show() (wire.Trace, error) {
	var r shown
	text := append(append([]byte{'{'}, f.Body...), '}')
	if err := json.Unmarshal(text, &r); err != nil {
		return wire.Trace{}, fmt.Errorf("reading the trace with sequence %d: %w", f.Sequence, err)
	}
	t := wire.Trace{
		TraceID: f.TraceID, TraceName: r.TraceName, TraceRating: r.Rating, TraceStatus: r.Rating, TraceType: r.Type, ServiceType: r.Service,
		ResourceType: r.ResourceType, ResourceID: r.ResourceID, ResourceName: r.ResourceName, SourceIP: r.SourceIP,
		Request: string(r.Request), Response: string(r.Response), Code: r.Code, ErrorCode: r.ErrorCode, Message: r.Message,
		RequestID: r.RequestID, ResourceURL: r.ResourceURL, Time: r.Time, RecordTime: r.RecordTime, ReadOnly: r.ReadOnly,
		NodeID: r.NodeID, UserAgent: r.UserAgent, DurationUS: r.DurationUS, ProjectID: r.ProjectID, OtherID: r.OtherID,
		User: &wire.TraceUser{}, EnterpriseID: defaultEnterprise,
	}
	if len(r.TraceName) > 0 {
		t.OperationID = strings.ToUpper(r.TraceName[:1]) + r.TraceName[1:]
	}
	if version, _, ok := strings.Cut(strings.TrimPrefix(r.ResourceURL, "/"), "/"); ok && strings.HasPrefix(version, "v") {
		t.APIVersion = version
	}
	if u := r.User; u != nil {
		*t.User = wire.TraceUser{ID: u.ID, Name: u.Name, UserName: u.Name, PrincipalID: u.ID, Domain: u.Domain, AccessKeyID: u.AccessKeyID}
		if u.Domain != nil {
			t.User.AccountID = u.Domain.ID
		}
	}
	return t, nil
}
