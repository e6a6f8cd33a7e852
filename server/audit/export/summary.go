package export

import (
	"encoding/json"

	"github.com/raftkms/raftkms/server/audit"
)

// summary is what is told of a line beside the line itself.
type summary struct {
	name, rating, id, request string

	trace shown
}

// shown are the members that receivers look for.
type shown struct {
	Mark         string `json:"mark"`
	Name         string `json:"trace_name"`
	Rating       string `json:"trace_rating"`
	Type         string `json:"trace_type"`
	Service      string `json:"service_type"`
	ResourceType string `json:"resource_type"`
	ResourceID   string `json:"resource_id"`
	ResourceName string `json:"resource_name"`
	SourceIP     string `json:"source_ip"`
	RequestID    string `json:"request_id"`
	NodeID       string `json:"node_id"`
	ProjectID    string `json:"project_id"`
	Code         string `json:"code"`
	ErrorCode    string `json:"error_code"`
	Message      string `json:"message"`
	Time         int64  `json:"time"`
	User         struct {
		ID          string `json:"id"`
		Name        string `json:"name"`
		AccessKeyID string `json:"access_key_id"`
	} `json:"user"`
}

// summarise reads a line. One that cannot be read goes out all the same.
func summarise(l *audit.Line) summary {
	var s summary
	text := append(append(append(make([]byte, 0, len(l.Body)+2), '{'), l.Body...), '}')
	if json.Unmarshal(text, &s.trace) != nil {
		return summary{name: "unreadable", rating: string(audit.RatingIncident)}
	}
	s.name, s.rating, s.id, s.request = s.trace.Name, s.trace.Rating, audit.TraceID(l.Hash), s.trace.RequestID
	if l.Mark {
		// What the log says about itself: that is never nothing.
		s.name, s.rating, s.id = "log."+s.trace.Mark, string(audit.RatingWarning), ""
	}
	return s
}

// severity is the rating as one of syslog: informational, warning, critical.
func (s *summary) severity() int {
	switch audit.Rating(s.rating) {
	case audit.RatingIncident:
		return 2
	case audit.RatingWarning:
		return 4
	default:
		return 6
	}
}
