package audit

import (
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/raftkms/raftkms/server/wire"
)

// Rating says how an operation ended. The log has room in reserve for every
// record that is not RatingNormal.
type Rating string

// The ratings.
const (
	RatingNormal   Rating = "normal"   // it did what was asked
	RatingWarning  Rating = "warning"  // it was refused or failed, or somebody should look
	RatingIncident Rating = "incident" // somebody must look
)

// TraceType says where an operation came from.
type TraceType string

// The types of traces; an empty one is TypeAPICall.
const (
	TypeAPICall       TraceType = "ApiCall"
	TypeConsoleAction TraceType = "ConsoleAction"
	TypeSystemAction  TraceType = "SystemAction" // the node did it by itself
)

// The services that traces are of; an empty one is ServiceKMS.
const (
	ServiceKMS = "KMS"
	ServiceCTS = "CTS" // the traces themselves
	ServiceIAM = "IAM"
)

// Most bytes of a field in the log; what is longer is cut. They are above what
// the API accepts, so only what comes from outside unchecked is ever cut.
const (
	maxID      = 128
	maxName    = 256
	maxAgent   = 256
	maxSource  = 64
	maxURL     = 256
	maxMessage = 256
)

// Record is the trace of one operation, with the names of the vendor's trace
// service where it has one. Every string may hold anything: it is cut and
// escaped when it is written. What is empty is not written.
//
// A trace has no id of its own: it is made of the hash of its line, see
// [TraceID], so that an id leads to one line and proves it.
type Record struct {
	TraceName    string // the operation, e.g. createDataKey
	Rating       Rating
	Type         TraceType
	Service      string // ServiceKMS and so on
	ResourceType string // cmk, rng, cluster
	ResourceID   string // key id; empty when the operation was about none
	ResourceName string // key name
	ResourceURL  string // path of the request
	SourceIP     string
	UserAgent    string
	RequestID    string
	NodeID       string
	ProjectID    string
	// OtherID is the other key of an operation with two, and Owners are projects
	// besides ProjectID whose keys it used: they see the trace as well.
	OtherID    string
	Owners     [2]string
	User       User
	Code       string   // HTTP status
	ErrorCode  string   // the dialect's error code; empty on success
	Message    string   // in words, where there is more to say than the code
	ReadOnly   bool     // it changed nothing, and did not try to
	Request    *Details // what was asked; may be nil
	Response   *Details // what was answered; may be nil
	Time       time.Time
	RecordTime time.Time
	Duration   time.Duration // of the operation, this record's writing not included
}

// User is who asked. It is empty where that could not be established.
type User struct {
	ID         string
	Name       string
	DomainID   string
	DomainName string
	// AccessKeyID is the credential; in the trace of a call that was not
	// authenticated, the one that it claimed to be of.
	AccessKeyID string
}

// appendBody appends the record as the members of a line. nodeID stands in for
// a node that the record does not name.
func (r *Record) appendBody(dst []byte, nodeID string) []byte {
	if r.NodeID != "" {
		nodeID = r.NodeID
	}
	or := func(value, otherwise string) string {
		if value == "" {
			return otherwise
		}
		return value
	}
	dst = append(dst, `"trace_name":`...)
	dst = appendCut(dst, r.TraceName, maxID)
	dst = appendField(dst, `,"trace_rating":`, string(r.Rating), maxID)
	dst = appendField(dst, `,"trace_type":`, or(string(r.Type), string(TypeAPICall)), maxID)
	dst = appendField(dst, `,"service_type":`, or(r.Service, ServiceKMS), maxID)
	dst = appendField(dst, `,"resource_type":`, r.ResourceType, maxID)
	dst = appendField(dst, `,"resource_id":`, r.ResourceID, maxID)
	dst = appendField(dst, `,"resource_name":`, r.ResourceName, maxName)
	dst = appendField(dst, `,"resource_url":`, r.ResourceURL, maxURL)
	dst = appendField(dst, `,"source_ip":`, r.SourceIP, maxSource)
	dst = appendField(dst, `,"user_agent":`, r.UserAgent, maxAgent)
	dst = appendField(dst, `,"request_id":`, r.RequestID, maxID)
	dst = appendField(dst, `,"node_id":`, nodeID, maxID)
	dst = appendField(dst, `,"project_id":`, r.ProjectID, maxID)
	dst = appendField(dst, `,"second_resource_id":`, r.OtherID, maxID)
	dst = appendField(dst, `,"owner_project_id":`, r.Owners[0], maxID)
	dst = appendField(dst, `,"second_owner_project_id":`, r.Owners[1], maxID)
	dst = r.User.appendMember(dst)
	dst = appendField(dst, `,"code":`, r.Code, maxID)
	dst = appendField(dst, `,"error_code":`, r.ErrorCode, maxID)
	dst = appendField(dst, `,"message":`, r.Message, maxMessage)
	if r.ReadOnly {
		dst = append(dst, `,"read_only":true`...)
	}
	dst = r.Request.appendMember(dst, "request")
	dst = r.Response.appendMember(dst, "response")
	dst = appendNumber(dst, `,"time":`, r.Time.UnixMilli())
	dst = appendNumber(dst, `,"record_time":`, r.RecordTime.UnixMilli())
	return appendNumber(dst, `,"duration_us":`, r.Duration.Microseconds())
}

// appendMember appends who asked, unless nobody is known.
func (u *User) appendMember(dst []byte) []byte {
	if *u == (User{}) {
		return dst
	}
	dst = append(dst, `,"user":{"id":`...)
	dst = appendCut(dst, u.ID, maxID)
	dst = appendField(dst, `,"name":`, u.Name, maxName)
	if u.DomainID != "" || u.DomainName != "" {
		dst = append(dst, `,"domain":{"id":`...)
		dst = appendCut(dst, u.DomainID, maxID)
		dst = append(appendField(dst, `,"name":`, u.DomainName, maxName), '}')
	}
	return append(appendField(dst, `,"access_key_id":`, u.AccessKeyID, maxID), '}')
}

// appendField appends a member, unless it is empty. before is what stands in
// front of its value: the comma, the name, the colon.
func appendField(dst []byte, before, value string, most int) []byte {
	if value == "" {
		return dst
	}
	return appendCut(append(dst, before...), value, most)
}

func appendNumber(dst []byte, before string, value int64) []byte {
	return strconv.AppendInt(append(dst, before...), value, 10)
}

// appendCut appends at most that many bytes of s, whole characters.
func appendCut(dst []byte, s string, most int) []byte {
	if len(s) > most {
		s = s[:most]
		for len(s) > most-utf8.UTFMax && !utf8.RuneStart(s[len(s)-1]) {
			s = s[:len(s)-1]
		}
		if r, size := utf8.DecodeLastRuneInString(s); r == utf8.RuneError {
			s = s[:len(s)-size]
		}
	}
	return wire.AppendString(dst, s)
}
