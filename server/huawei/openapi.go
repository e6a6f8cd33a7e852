package huawei

import (
	_ "embed"
	"reflect"

	"github.com/valyala/fasthttp"
)

// document describes the dialect; tests hold it against the routes, the types
// of requests and replies, and what is really answered.
//
//go:embed openapi.yaml
var document []byte

// Document answers GET /openapi.yaml. It asks for no credentials.
func Document(rc *fasthttp.RequestCtx) {
	rc.SetContentType("application/yaml")
	rc.SetBody(document)
}

// OpenAPI returns the description of the dialect.
func OpenAPI() []byte { return append([]byte(nil), document...) }

// Types returns the types of an operation's request and reply.
func (e Endpoint) Types() (request, reply reflect.Type) { return e.request, e.reply }
