package audit

import "time"

// Query says which traces are looked for: those that all of its fields fit. A
// field that is empty fits every trace.
type Query struct {
	TraceID      string // overrides all other conditions
	TraceName    string
	Rating       string
	Type         string
	Service      string
	ResourceType string
	ResourceID   string
	ResourceName string
	SourceIP     string
	RequestID    string
	ProjectID    string
	UserID       string
	UserName     string
	DomainID     string
	AccessKeyID  string
	Code         string
	// Except is the name of traces that do not fit.
	Except string
	// Names are those of which a trace must have one; none: any.
	Names []string
	// EachUser has only the newest trace of every user found, and none of nobody.
	EachUser bool

	// After and Before bound the time of a trace, both exclusive, in Unix
	// milliseconds; 0: no bound.
	After, Before int64
	// RecordedBy bounds the time at which a trace was recorded, inclusive, in
	// Unix milliseconds; 0: no bound.
	RecordedBy int64
	// Above and Below bound the sequence, both exclusive; 0: no bound.
	Above, Below uint64

	// Limit is how many traces are returned at most; MaxBytes how many bytes
	// they may have together (the first one is returned whatever it has).
	Limit, MaxBytes int
	// Within is how long the search may take; 0: as long as its caller waits.
	Within time.Duration
}

// conditions are the values that members of a trace must have.
func (q *Query) conditions() [fieldCount]string {
	return [fieldCount]string{
		fieldTraceName: q.TraceName, fieldRating: q.Rating, fieldTraceType: q.Type, fieldService: q.Service,
		fieldResourceType: q.ResourceType, fieldResourceID: q.ResourceID, fieldResourceName: q.ResourceName,
		fieldSourceIP: q.SourceIP, fieldRequestID: q.RequestID, fieldProjectID: q.ProjectID,
		fieldUserID: q.UserID, fieldUserName: q.UserName, fieldDomainID: q.DomainID, fieldAccessKeyID: q.AccessKeyID, fieldCode: q.Code,
	}
}

// Overlong names the first condition whose value is longer than the log keeps
// of such values, as the trace service calls it, and the most bytes of one. No
// trace has such a value: one that began with it was cut when it was written.
func (q *Query) Overlong() (name string, most int, is bool) {
	for f, value := range q.conditions() {
		if most := field(f).limit(); len(value) > most {
			return field(f).String(), most, true
		}
	}
	return "", 0, false
}
