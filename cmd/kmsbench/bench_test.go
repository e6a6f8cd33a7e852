package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"crypto/tls"
	"crypto/x509"

	"go.uber.org/goleak"
)

func TestParseStat(t *testing.T) {
	f := func(text string, want uint64, ok bool) {
		t.Helper()
		got, err := parseStat([]byte(text))
		if (err == nil) != ok || got != want {
			t.Errorf("%q: %d, %v", text, got, err)
		}
	}
	f("7 (kmsd) S 1 7 7 0 -1 4194560 5000 0 0 0 120 34 0 0 20 0 9 0 100 1 2", 154, true)
	f("7 (a) b (c) S 1 7 7 0 -1 4194560 5000 0 0 0 1 2 0 0 20 0", 3, true)
	f("7 (kmsd) S 1 7", 0, false)
	f("", 0, false)
	f("7 (kmsd) S 1 7 7 0 -1 4194560 5000 0 0 0 x 34 0 0", 0, false)
}

func TestParseMachine(t *testing.T) {
	f := func(text string, want machineTimes, ok bool) {
		t.Helper()
		if got, told := parseMachine([]byte(text)); got != want || told != ok {
			t.Errorf("%q: %+v, %v", text, got, told)
		}
	}
	f("cpu  10 2 30 1000 50 4 5 6 7 8\ncpu0 1 1 1 1 1 1 1 1 1 1\n", machineTimes{used: 57, all: 1107}, true)
	f("cpu 1 2 3", machineTimes{}, false)
	f("intr 1 2 3 4 5 6 7 8", machineTimes{}, false)
	f("cpu 1 2 3 x 5 6 7 8", machineTimes{}, false)
	f("", machineTimes{}, false)

	before := machineTimes{used: 100, all: 1000}
	if got := (machineTimes{used: 175, all: 1100}).share(before); got != 0.75 {
		t.Errorf("75 of 100 ticks are a share of %v", got)
	}
	if got := before.share(before); got != 0 {
		t.Errorf("no time is a share of %v", got)
	}
}

func TestCPUTimeOfThisProcessGrows(t *testing.T) {
	before, err := cpuTime([]int{os.Getpid()})
	if err != nil {
		t.Fatal(err)
	}
	for after := before; after < before+2*tick; { // ends only if it grows
		if after, err = cpuTime([]int{os.Getpid()}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := cpuTime([]int{-1}); err == nil {
		t.Error("a process that is not there has a CPU time")
	}
}

func TestTheFixedServerAnswersUntilItsInputEnds(t *testing.T) {
	t.Run("nothing else", func(t *testing.T) { answersUntilItsInputEnds(t, 0) })
	t.Setenv("TMPDIR", t.TempDir())
	t.Run("appending", func(t *testing.T) { answersUntilItsInputEnds(t, 640) })
	if left, err := os.ReadDir(os.TempDir()); len(left) > 0 || err != nil {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func answersUntilItsInputEnds(t *testing.T, record int) {
	defer goleak.VerifyNone(t, goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"))
	inRead, inWrite := io.Pipe()
	outRead, outWrite := io.Pipe()
	served := make(chan error, 1)
	go func() { served <- serveFixed(inRead, outWrite, 300, record) }()

	var hello fixedHello
	if err := json.NewDecoder(outRead).Decode(&hello); err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(hello.Certificate)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(certificate)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}
	answer, err := (&http.Client{Transport: transport, Timeout: time.Minute}).Post(hello.URL+"/x", "application/json", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(answer.Body)
	answer.Body.Close()
	if err != nil || !bytes.Equal(body, bytes.Repeat([]byte{'x'}, 300)) {
		t.Errorf("answer %q, %v", body, err)
	}
	transport.CloseIdleConnections()
	inWrite.Close()
	if err := <-served; err != nil {
		t.Error(err)
	}
}

func TestAClusterThatCannotStartIsSaidSo(t *testing.T) {
	_, err := startCluster(context.Background(), clusterOptions{kmsd: "/bin/false", nodes: 1, module: "soft", port: 1})
	if err == nil || !strings.Contains(err.Error(), "ended before the cluster was ready") {
		t.Errorf("got %v", err)
	}
	if _, err := startCluster(context.Background(), clusterOptions{kmsd: "/nonexistent"}); err == nil {
		t.Error("a program that is not there starts")
	}
}
