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
	RatingNormal  Rating = "normal"  // it did what was asked
	RatingWarning Rating = "warning" // it was refused or failed
)

// Most bytes of a field in the log; what is longer is cut. They are above what
// the API accepts, so only what comes from outside unchecked is ever cut.
const (
	maxID     = 128
	maxName   = 256
	maxAgent  = 256
	maxSource = 64
)

// Record is the trace of one operation, with the names of the vendor's trace
// service where it has one. Every string may hold anything: it is cut and
// escaped when it is written.
type Record struct {
	TraceID      string // UUID
	TraceName    string // the operation, e.g. createDataKey
	Rating       Rating
	ResourceType string // cmk, rng, cluster
	ResourceID   string // key id; empty when the operation was about none
	ResourceName string // key name
	SourceIP     string
	UserAgent    string
	RequestID    string
	NodeID       string
	ProjectID    string
	User         User
	Code         string // HTTP status
	ErrorCode    string // the dialect's error code; empty on success
	Time         time.Time
	RecordTime   time.Time
	Duration     time.Duration // of the operation, this record's writing not included
}

// User is who asked. It is empty where that could not be established.
type User struct {
	ID          string
	Name        string
	DomainID    string
	AccessKeyID string
}

// appendBody appends the record as the members of a line. nodeID stands in for
// a node that the record does not name.
func (r *Record) appendBody(dst []byte, nodeID string) []byte {
	if r.NodeID != "" {
		nodeID = r.NodeID
	}
	dst = append(dst, `"trace_id":`...)
	dst = appendCut(dst, r.TraceID, maxID)
	dst = appendField(dst, "trace_name", r.TraceName, maxID)
	dst = appendField(dst, "trace_rating", string(r.Rating), maxID)
	dst = append(dst, `,"trace_type":"ApiCall","service_type":"KMS"`...)
	dst = appendField(dst, "resource_type", r.ResourceType, maxID)
	dst = appendField(dst, "resource_id", r.ResourceID, maxID)
	dst = appendField(dst, "resource_name", r.ResourceName, maxName)
	dst = appendField(dst, "source_ip", r.SourceIP, maxSource)
	dst = appendField(dst, "user_agent", r.UserAgent, maxAgent)
	dst = appendField(dst, "request_id", r.RequestID, maxID)
	dst = appendField(dst, "node_id", nodeID, maxID)
	dst = appendField(dst, "project_id", r.ProjectID, maxID)
	dst = append(dst, `,"user":{"id":`...)
	dst = appendCut(dst, r.User.ID, maxID)
	dst = appendField(dst, "name", r.User.Name, maxName)
	dst = append(dst, `,"domain":{"id":`...)
	dst = append(appendCut(dst, r.User.DomainID, maxID), '}')
	dst = append(appendField(dst, "access_key_id", r.User.AccessKeyID, maxID), '}')
	dst = appendField(dst, "code", r.Code, maxID)
	dst = appendField(dst, "error_code", r.ErrorCode, maxID)
	dst = strconv.AppendInt(append(dst, `,"time":`...), r.Time.UnixMilli(), 10)
	dst = strconv.AppendInt(append(dst, `,"record_time":`...), r.RecordTime.UnixMilli(), 10)
	return strconv.AppendInt(append(dst, `,"duration_us":`...), r.Duration.Microseconds(), 10)
}

func appendField(dst []byte, name, value string, most int) []byte {
	dst = append(append(append(dst, ',', '"'), name...), '"', ':')
	return appendCut(dst, value, most)
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
