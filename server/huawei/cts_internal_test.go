package huawei

import (
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/raftkms/raftkms/server/kms"
	"github.com/raftkms/raftkms/server/wire"
)

// A query of any text is one whose bounds hold, or an error that names what is
// wrong in the codes of the trace service.
func FuzzTraceQuery(f *testing.F) {
	f.Add("trace_type=system&limit=200&from=1700000000000&to=1700000000001&next=m&user=admin&trace_rating=warning")
	f.Add("limit=0&wait=-1&scope=all&trace_id=919c82d4-8046-8722-9094-35c3c6524cff")
	f.Add("from=9999999999999&to=1&resource_id=%00&resource_name=%ff%fe&user=%25")
	f.Add("trace_name=a&trace_name=b&limit=1e3&sequence=x")
	now := time.UnixMilli(1_700_000_000_000)
	f.Fuzz(func(t *testing.T, query string) {
		var rc fasthttp.RequestCtx
		rc.Request.Header.SetMethod("GET")
		rc.Request.URI().SetQueryString(query)
		var req wire.ListTracesRequest
		err := decode(&rc, &req)
		var q kms.TraceQuery
		if err == nil {
			q, err = traceQuery(&req, now)
		}
		if err != nil {
			a := ListTraces.answerTo(err)
			if a.status != 400 || a.code != "CTS.0003" && !strings.HasPrefix(a.code, "KMS.02") { // of what is no request at all
				t.Errorf("%q: %d %s for %v", query, a.status, a.code, err)
			}
			return
		}
		if q.Limit < 1 || q.Limit > maxTracesLimit || q.After < 0 || q.TraceID == "" && q.After == 0 || q.Before != 0 && q.Before <= q.After || q.AllProjects != (req.Scope == "all") {
			t.Errorf("%q: %+v", query, q)
		}
		if name, _, is := q.Overlong(); is {
			t.Errorf("%q: %s is too long", query, name)
		}
		if q.ResourceID != req.ResourceID || q.UserName != req.User || q.TraceName != req.TraceName || q.Rating != req.TraceRating || q.Marker != req.Next {
			t.Errorf("%q asks for something else: %+v", query, q)
		}
	})
}
