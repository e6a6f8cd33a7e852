package audit

import "bytes"

// Nearly every line is a record as [Record.appendBody] writes it: members in one
// order, of which some are absent. Reading such a line by that order takes a
// fifth of the time of reading it as JSON, and every line is read when it is
// packed. Whatever is not just so is left to scanMembers.

// ordered are the members up to the user, in their order, as they begin.
var ordered = [...]struct {
	begins string
	field  field // fieldCount: nobody looks for it
}{
	{`"trace_name":"`, fieldTraceName},
	{`,"trace_rating":"`, fieldRating},
	{`,"trace_type":"`, fieldTraceType},
	{`,"service_type":"`, fieldService},
	{`,"resource_type":"`, fieldResourceType},
	{`,"resource_id":"`, fieldResourceID},
	{`,"resource_name":"`, fieldResourceName},
	{`,"resource_url":"`, fieldCount},
	{`,"source_ip":"`, fieldSourceIP},
	{`,"user_agent":"`, fieldCount},
	{`,"request_id":"`, fieldRequestID},
	{`,"node_id":"`, fieldCount},
	{`,"project_id":"`, fieldProjectID},
}

const (
	beginsTime   = `,"time":`
	beginsRecord = `,"record_time":`
	beginsTook   = `,"duration_us":`
	// maxTimes is more than the last three members have together.
	maxTimes = len(beginsTime) + len(beginsRecord) + len(beginsTook) + 3*20
)

// scanOrdered is scanFields of a record that is written in the usual order. It
// is not ok when the body is none, and says nothing then.
func (f *fields) scanOrdered(body []byte) (ok bool) {
	rest := body
	for i := range ordered {
		m := &ordered[i]
		if len(rest) < len(m.begins) || string(rest[:len(m.begins)]) != m.begins {
			if i == 0 {
				return false
			}
			continue
		}
		value, after := quoted(rest, len(m.begins)-1)
		if value == nil {
			return false
		}
		if rest = after; m.field < fieldCount {
			f.text[m.field] = value
		}
	}
	for _, m := range []struct {
		begins string
		into   *[]byte
	}{
		{`,"second_resource_id":"`, &f.otherID}, {`,"owner_project_id":"`, &f.owners[0]}, {`,"second_owner_project_id":"`, &f.owners[1]},
	} {
		if value, after := cutMember(rest, m.begins); value != nil {
			*m.into, rest = value, after
		}
	}
	if rest, ok = f.orderedUser(rest); !ok {
		return false
	}
	if code, after := cutMember(rest, `,"code":"`); code != nil {
		f.text[fieldCode], rest = code, after
	}
	// Quotes within strings have a backslash in front, so this is no part of one,
	// and it is the last of that name.
	tail := rest[max(0, len(rest)-maxTimes):]
	at := bytes.LastIndex(tail, []byte(beginsTime))
	if at < 0 {
		return false
	}
	tail = tail[at+len(beginsTime):]
	return f.orderedTimes(tail)
}

// orderedUser reads who asked, where that is told.
func (f *fields) orderedUser(rest []byte) (after []byte, ok bool) {
	id, after := cutMember(rest, `,"user":{"id":"`)
	if id == nil {
		return rest, !bytes.HasPrefix(rest, []byte(`,"user":`))
	}
	f.text[fieldUserID], rest = id, after
	if name, after := cutMember(rest, `,"name":"`); name != nil {
		f.text[fieldUserName], rest = name, after
	}
	if domain, after := cutMember(rest, `,"domain":{"id":"`); domain != nil {
		f.text[fieldDomainID], rest = domain, after
		if name, after := cutMember(rest, `,"name":"`); name != nil {
			rest = after
		}
		if len(rest) == 0 || rest[0] != '}' {
			return nil, false
		}
		rest = rest[1:]
	}
	if access, after := cutMember(rest, `,"access_key_id":"`); access != nil {
		f.text[fieldAccessKeyID], rest = access, after
	}
	if len(rest) == 0 || rest[0] != '}' {
		return nil, false
	}
	return rest[1:], true
}

// orderedTimes reads the numbers at the end, from behind the first's name.
func (f *fields) orderedTimes(tail []byte) bool {
	number, tail, found := bytes.Cut(tail, []byte(beginsRecord))
	if !found || !integer(number, &f.time) {
		return false
	}
	number, tail, found = bytes.Cut(tail, []byte(beginsTook))
	var took int64
	return found && integer(number, &f.recordTime) && integer(tail, &took)
}

// cutMember takes a member whose value is a string off the front; nil: another
// one is there. begins ends in the string's first quote.
func cutMember(rest []byte, begins string) (value, after []byte) {
	if len(rest) < len(begins) || string(rest[:len(begins)]) != begins {
		return nil, rest
	}
	return quoted(rest, len(begins)-1)
}

// quoted is the string with its quotes that begins at from, and what is after it.
func quoted(rest []byte, from int) (value, after []byte) {
	n := stringEnd(rest[from:])
	if n == 0 {
		return nil, rest
	}
	return rest[from : from+n], rest[from+n:]
}
