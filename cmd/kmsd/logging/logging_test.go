package logging_test

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/raftkms/raftkms/cmd/kmsd/logging"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// gate is a writer that blocks until it is opened.
type gate struct {
	open chan struct{}
	mu   sync.Mutex
	buf  bytes.Buffer
}

func (g *gate) Write(p []byte) (int, error) {
	<-g.open
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.buf.Write(p)
}

func TestABlockedLogNeitherHangsNorLoosesTheCount(t *testing.T) {
	out := &gate{open: make(chan struct{})}
	sink := logging.NewSink(out)
	log, err := logging.New(sink, "info", "text")
	if err != nil {
		t.Fatal(err)
	}
	const lines = 10000 // more than the queue holds
	for i := range lines {
		log.Info("line", "i", i) // would hang here for ever
	}
	dropped := sink.Dropped()
	if dropped == 0 {
		t.Error("a blocked log dropped nothing")
	}
	close(out.open)
	sink.Close(time.Minute)
	text := out.buf.String()
	if got := uint64(strings.Count(text, "msg=line")); got+dropped != lines {
		t.Errorf("%d lines written and %d dropped of %d", got, dropped, lines)
	}
	if want := fmt.Sprintf("lines=%d", dropped); !strings.Contains(text, want) {
		t.Errorf("the log does not say %s", want)
	}
}

func TestCloseGivesUpOnABlockedLog(t *testing.T) {
	out := &gate{open: make(chan struct{})}
	sink := logging.NewSink(out)
	_, _ = sink.Write([]byte("one\n"))
	sink.Close(time.Millisecond)
	_, _ = sink.Write([]byte("after close\n")) // neither panics nor blocks
	close(out.open)
	sink.Close(time.Minute)
	if got := out.buf.String(); got != "one\n" {
		t.Errorf("the log holds %q", got)
	}
}

func TestLevelsAndFormats(t *testing.T) {
	f := func(level, format, want string) {
		t.Helper()
		var out bytes.Buffer
		sink := logging.NewSink(&out)
		log, err := logging.New(sink, level, format)
		if err != nil {
			t.Fatal(err)
		}
		log.Debug("d")
		log.Warn("w")
		sink.Close(time.Minute)
		if !strings.Contains(out.String(), want) || strings.Contains(out.String(), "msg=d") {
			t.Errorf("%s %s: %q", level, format, out.String())
		}
	}
	f("info", "text", "level=WARN msg=w")
	f("warn", "json", `"msg":"w"`)
	sink := logging.NewSink(new(bytes.Buffer))
	defer sink.Close(time.Minute)
	if _, err := logging.New(sink, "loud", "text"); err == nil {
		t.Error("level loud is accepted")
	}
	if _, err := logging.New(sink, "info", "xml"); err == nil {
		t.Error("format xml is accepted")
	}
}
