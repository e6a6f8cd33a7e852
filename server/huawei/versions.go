package huawei

import (
	"github.com/valyala/fasthttp"

	"github.com/raftkms/raftkms/server/wire"
)

// maxHost is the longest Host header that goes into a link, in bytes.
const maxHost = 255

// Versions answers GET /: the versions of the API. It asks for no credentials.
func Versions(rc *fasthttp.RequestCtx) {
	writeDocument(rc, wire.VersionsReply{Versions: []wire.VersionInfo{version(rc)}})
}

// Version answers GET /v1.0.
func Version(rc *fasthttp.RequestCtx) {
	writeDocument(rc, wire.VersionReply{Version: version(rc)})
}

// version describes v1.0, the only one there is, with a link to where the
// client has found it.
func version(rc *fasthttp.RequestCtx) wire.VersionInfo {
	host := rc.Host()
	if len(host) > maxHost {
		host = nil
	}
	return wire.VersionInfo{
		ID:      "v1.0",
		Links:   []wire.VersionLink{{Href: "https://" + string(host) + "/v1.0", Rel: "self"}},
		Status:  "CURRENT",
		Updated: "2018-09-05T08:18:05Z",
	}
}

func writeDocument(rc *fasthttp.RequestCtx, reply wire.Reply) {
	writeHead(rc, fasthttp.StatusOK)
	rc.SetBody(reply.AppendJSON(nil))
}
