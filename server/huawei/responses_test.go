package huawei

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"
)

const secret = "0123456789ABCDEF"

// respond writes a reply as the server does and returns the buffer that the
// reply was in.
func respond(t *testing.T, w io.Writer) []byte {
	t.Helper()
	var pool buffers
	body := pool.get()
	body.bytes = append(body.bytes, secret...)
	memory := body.bytes
	var rc fasthttp.RequestCtx
	rc.Init(&fasthttp.Request{}, nil, nil)
	writeBody(&rc, 200, body)
	out := bufio.NewWriterSize(w, 64)
	if err := errors.Join(rc.Response.Write(out), out.Flush()); err != nil && w != (failing{}) {
		t.Fatal(err)
	}
	return memory
}

// failing is a connection that is gone.
type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestRepliesAreWiped(t *testing.T) {
	var sent bytes.Buffer
	memory := respond(t, &sent)
	if !strings.HasSuffix(sent.String(), "\r\n\r\n"+secret) || !strings.Contains(sent.String(), "Content-Length: 16\r\n") {
		t.Errorf("sent %q", sent.String())
	}
	if !bytes.Equal(memory, make([]byte, len(secret))) {
		t.Error("a reply is still in its buffer after it was sent")
	}
	if memory = respond(t, failing{}); !bytes.Equal(memory, make([]byte, len(secret))) {
		t.Error("a reply is still in its buffer after the connection broke")
	}
}

// A panic's answer takes the place of a reply, which is wiped as well.
func TestReplacedRepliesAreWiped(t *testing.T) {
	var pool buffers
	body := pool.get()
	body.bytes = append(body.bytes, secret...)
	memory := body.bytes
	var rc fasthttp.RequestCtx
	rc.Init(&fasthttp.Request{}, nil, nil)
	writeBody(&rc, 200, body)
	WriteInternal(&rc, "r1")
	if !bytes.Equal(memory, make([]byte, len(secret))) || !bytes.Contains(rc.Response.Body(), []byte("KMS.0101")) {
		t.Errorf("kept, or not replaced: %s", rc.Response.Body())
	}
}

func TestWipedBodyIsAReader(t *testing.T) {
	var pool buffers
	body := pool.get()
	body.bytes = append(body.bytes, secret...)
	var first [4]byte
	if _, err := io.ReadFull(body, first[:]); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(io.MultiReader(body)) // hides WriteTo
	if err != nil || string(first[:])+string(rest) != secret {
		t.Errorf("read %q and %q, %v", first, rest, err)
	}
	for range 2 {
		if err := body.Close(); err != nil {
			t.Error(err)
		}
	}
	if n, err := body.Read(first[:]); n != 0 || err != io.EOF {
		t.Errorf("after Close: %d, %v", n, err)
	}
}
