package audit

import "bytes"

// fields are the members of a line that traces are found by, as they are
// written: texts with their quotes. One value has one form (appendCut), so
// forms are compared, and nothing is decoded to find a trace.
type fields struct {
	text       [fieldCount][]byte // nil where the line has none
	otherID    []byte             // a second value for fieldResourceID
	owners     [2][]byte          // further values for fieldProjectID
	time       int64              // Unix milliseconds
	recordTime int64
	mark       bool // the line is no record
}

// has tells whether the line has a value of a field, in its form.
func (f *fields) has(name field, form []byte) bool {
	switch {
	case bytes.Equal(f.text[name], form):
		return true
	case name == fieldResourceID:
		return bytes.Equal(f.otherID, form)
	case name == fieldProjectID:
		return bytes.Equal(f.owners[0], form) || bytes.Equal(f.owners[1], form)
	}
	return false
}

// field numbers what a trace is found by. The numbers are in index files:
// none is used again.
type field uint8

const (
	fieldTraceName field = iota
	fieldRating
	fieldTraceType
	fieldService
	fieldResourceType
	fieldResourceID
	fieldResourceName
	fieldSourceIP
	fieldRequestID
	fieldProjectID
	fieldUserID
	fieldUserName
	fieldDomainID
	fieldAccessKeyID
	fieldCode
	fieldCount

	fieldTraceID field = 32 // of the hash; not among the members
)

// String is what the trace service calls a condition on the field.
func (f field) String() string {
	if f == fieldTraceID {
		return "trace_id"
	}
	return [fieldCount]string{
		fieldTraceName: "trace_name", fieldRating: "trace_rating", fieldTraceType: "trace_type", fieldService: "service_type",
		fieldResourceType: "resource_type", fieldResourceID: "resource_id", fieldResourceName: "resource_name",
		fieldSourceIP: "source_ip", fieldRequestID: "request_id", fieldProjectID: "project_id", fieldUserID: "user_id",
		fieldUserName: "user", fieldDomainID: "domain_id", fieldAccessKeyID: "access_key_id", fieldCode: "code",
	}[f]
}

// unique says that hardly two traces have the same value.
func (f field) unique() bool { return f == fieldRequestID || f == fieldTraceID }

// limit is the most bytes of a field's text in a line.
func (f field) limit() int {
	switch f {
	case fieldResourceName, fieldUserName:
		return maxName
	case fieldSourceIP:
		return maxSource
	}
	return maxID
}

// appendTo appends the form of a value as a line has it.
func (f field) appendTo(dst []byte, value string) []byte { return appendCut(dst, value, f.limit()) }

// scanFields reads the members of a line's body. It is not ok when the body is
// none that this package has written.
func scanFields(body []byte, f *fields) (ok bool) {
	*f = fields{}
	if f.scanOrdered(body) {
		return true
	}
	return f.scanAny(body)
}

// scanAny is scanFields of members in any order.
func (f *fields) scanAny(body []byte) (ok bool) {
	*f = fields{}
	first := true
	return scanMembers(body, func(name, value []byte) bool {
		if first && string(name) == "mark" {
			f.mark = true
		}
		first = false
		switch string(name) {
		case "time":
			return integer(value, &f.time)
		case "record_time":
			return integer(value, &f.recordTime)
		case "user":
			return f.scanUser(value)
		case "trace_name":
			f.text[fieldTraceName] = value
		case "trace_rating":
			f.text[fieldRating] = value
		case "trace_type":
			f.text[fieldTraceType] = value
		case "service_type":
			f.text[fieldService] = value
		case "resource_type":
			f.text[fieldResourceType] = value
		case "resource_id":
			f.text[fieldResourceID] = value
		case "resource_name":
			f.text[fieldResourceName] = value
		case "source_ip":
			f.text[fieldSourceIP] = value
		case "request_id":
			f.text[fieldRequestID] = value
		case "project_id":
			f.text[fieldProjectID] = value
		case "second_resource_id":
			f.otherID = value
		case "owner_project_id":
			f.owners[0] = value
		case "second_owner_project_id":
			f.owners[1] = value
		case "code":
			f.text[fieldCode] = value
		}
		return true
	})
}

func (f *fields) scanUser(object []byte) bool {
	return scanObject(object, func(name, value []byte) bool {
		switch string(name) {
		case "id":
			f.text[fieldUserID] = value
		case "name":
			f.text[fieldUserName] = value
		case "access_key_id":
			f.text[fieldAccessKeyID] = value
		case "domain":
			return scanObject(value, func(name, value []byte) bool {
				if string(name) == "id" {
					f.text[fieldDomainID] = value
				}
				return true
			})
		}
		return true
	})
}

func scanObject(object []byte, member func(name, value []byte) bool) bool {
	if len(object) < 2 || object[0] != '{' || object[len(object)-1] != '}' {
		return false
	}
	if len(object) == 2 {
		return true
	}
	return scanMembers(object[1:len(object)-1], member)
}

// scanMembers goes through members of a JSON object without spaces between its
// tokens. It checks no more than it needs to find the members.
func scanMembers(text []byte, member func(name, value []byte) bool) bool {
	for {
		n := nameEnd(text)
		if n < 3 || len(text) <= n || text[n] != ':' {
			return false
		}
		name := text[1 : n-1]
		text = text[n+1:]
		end := valueEnd(text)
		if end == 0 || !member(name, text[:end]) {
			return false
		}
		if text = text[end:]; len(text) == 0 {
			return true
		}
		if text[0] != ',' {
			return false
		}
		text = text[1:]
	}
}

// stringEnd is the length of the string that text begins with; 0: it does not.
func stringEnd(text []byte) int {
	if len(text) == 0 || text[0] != '"' {
		return 0
	}
	for at := 1; ; {
		i := bytes.IndexByte(text[at:], '"')
		if i < 0 {
			return 0
		}
		at += i + 1
		if text[at-2] != '\\' {
			return at
		}
		slashes := 0
		for text[at-2-slashes] == '\\' {
			slashes++
		}
		if slashes%2 == 0 {
			return at
		}
	}
}

// nameEnd is stringEnd for what is short and has hardly ever an escape.
func nameEnd(text []byte) int {
	if len(text) == 0 || text[0] != '"' {
		return 0
	}
	for i := 1; i < len(text) && i < 24; i++ {
		switch text[i] {
		case '"':
			return i + 1
		case '\\':
			return stringEnd(text)
		}
	}
	return stringEnd(text)
}

// maxDepth is more than any line nests.
const maxDepth = 8

// valueEnd is the length of the value that text begins with; 0: there is none.
func valueEnd(text []byte) int {
	if len(text) == 0 {
		return 0
	}
	switch text[0] {
	case '"':
		return stringEnd(text)
	case '{', '[':
		depth := 0
		for i := 0; i < len(text); {
			switch text[i] {
			case '"':
				n := stringEnd(text[i:])
				if n == 0 {
					return 0
				}
				i += n
				continue
			case '{', '[':
				if depth++; depth > maxDepth {
					return 0
				}
			case '}', ']':
				if depth--; depth == 0 {
					return i + 1
				}
			}
			i++
		}
		return 0
	}
	for i, c := range text {
		if c == ',' || c == '}' || c == ']' {
			return i
		}
	}
	return len(text)
}

// integer reads a decimal number.
func integer(text []byte, n *int64) bool {
	negative := len(text) > 0 && text[0] == '-'
	if negative {
		text = text[1:]
	}
	if len(text) == 0 || len(text) > 19 {
		return false
	}
	var value uint64
	for _, c := range text {
		if c < '0' || c > '9' {
			return false
		}
		value = value*10 + uint64(c-'0')
	}
	if value > 1<<63-1 {
		return negative && value == 1<<63 && setInt(n, -1<<63)
	}
	if negative {
		return setInt(n, -int64(value))
	}
	return setInt(n, int64(value))
}

func setInt(n *int64, value int64) bool {
	*n = value
	return true
}
