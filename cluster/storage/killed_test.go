package storage_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// writeAndErase writes one entry after another, says so of each, and has the log
// written anew all the time, until it is killed.
func writeAndErase(t *testing.T, dir string) {
	s := open(t, dir)
	last, err := s.Log.LastIndex()
	check(t, err)
	failed := make(chan error, 1)
	go func() {
		for {
			if err := s.Erase(0); err != nil {
				failed <- err
				return
			}
		}
	}()
	for i := last + 1; ; i++ {
		select {
		case err := <-failed:
			t.Fatal(err)
		default:
		}
		check(t, s.Log.StoreLog(entry(i, fmt.Append(nil, i))))
		fmt.Println("wrote", i)
	}
}

// A process that is killed while it writes its log anew has lost nothing of what
// it said was written.
func TestEraseKilled(t *testing.T) {
	const child = "RAFTKMS_TEST_ERASED_DIR"
	if dir := os.Getenv(child); dir != "" {
		writeAndErase(t, dir)
	}
	dir, last := t.TempDir(), uint64(0)
	s := open(t, dir)
	var some []*raft.Log
	for i := range uint64(3000) {
		some = append(some, entry(i+1, fmt.Append(nil, i+1)))
	}
	check(t, s.Log.StoreLogs(some))
	check(t, s.Close())
	for _, writes := range []int{1, 5, 20, 60, 100} {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestEraseKilled$")
		cmd.Env = append(os.Environ(), child+"="+dir)
		out, err := cmd.StdoutPipe()
		check(t, err)
		check(t, cmd.Start())
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if _, err := fmt.Sscanf(lines.Text(), "wrote %d", &last); err != nil {
				t.Fatal(lines.Text())
			}
			if writes--; writes == 0 {
				check(t, cmd.Process.Kill()) // what it says until it dies counts, too
			}
		}
		if err := cmd.Wait(); writes > 0 {
			t.Fatalf("it ended by itself: %v", err)
		}
		wantAll(t, dir, last)
	}
}

// wantAll makes sure that a log has every entry up to the last one that was
// said to be written, and no more than the one that was being written then.
func wantAll(t *testing.T, dir string, said uint64) {
	t.Helper()
	s := open(t, dir)
	defer func() { check(t, s.Close()) }()
	last, err := s.Log.LastIndex()
	check(t, err)
	if last != said && last != said+1 {
		t.Fatalf("the log ends at %d, and %d was the last to be written", last, said)
	}
	for i := range last {
		var e raft.Log
		if check(t, s.Log.GetLog(i+1, &e)); string(e.Data) != fmt.Sprint(i+1) {
			t.Fatalf("entry %d is %q", i+1, e.Data)
		}
	}
}

// BenchmarkErase prints how long a write waits at most while the log is written
// anew, by how many entries the log has.
func BenchmarkErase(b *testing.B) {
	for _, entries := range []int{0, 1000, 10_000, 100_000} {
		b.Run(fmt.Sprint(entries), func(b *testing.B) { benchmarkErase(b, entries) })
	}
}

func benchmarkErase(b *testing.B, entries int) {
	s := open(b, b.TempDir())
	next := uint64(1)
	write := func(n int) {
		var batch []*raft.Log
		for range n {
			batch = append(batch, entry(next, make([]byte, 600)))
			next++
		}
		check(b, s.Log.StoreLogs(batch))
	}
	for range entries / 1000 {
		write(1000)
	}
	var took, longest, alone time.Duration
	for b.Loop() {
		ended := make(chan error)
		began := time.Now()
		go func() { ended <- s.Erase(0) }()
		wrote := func() time.Duration {
			at := time.Now()
			write(1)
			return time.Since(at)
		}
		for erasing := true; erasing; {
			select {
			case err := <-ended:
				check(b, err)
				erasing = false
			default:
				longest = max(longest, wrote())
			}
		}
		took += time.Since(began)
		for range 100 {
			alone = max(alone, wrote())
		}
	}
	b.ReportMetric(float64(longest.Microseconds())/1e3, "ms-longest-write")
	b.ReportMetric(float64(alone.Microseconds())/1e3, "ms-longest-write-without")
	b.ReportMetric(float64(took.Milliseconds())/float64(b.N), "ms-to-rewrite")
	b.ReportMetric(0, "ns/op")
}
