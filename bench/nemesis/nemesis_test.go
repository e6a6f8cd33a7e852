package nemesis_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/raftkms/raftkms/bench/history"
	"github.com/raftkms/raftkms/bench/nemesis"
)

// TestMain is the tests, or one of the processes that they start: with
// arguments that begin with "child", it does what the next one says.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "child" {
		child(os.Args[2:])
		return
	}
	goleak.VerifyTestMain(m)
}

// child waits for a signal, fails, or speaks to an address first.
func child(args []string) {
	switch args[0] {
	case "fail":
		os.Exit(3)
	case "sync": // ends when what it writes does not get durable
		file, err := os.Create(args[1])
		for err == nil {
			time.Sleep(time.Millisecond)
			err = file.Sync()
		}
		os.Exit(4)
	case "write": // ends when there is no room for what it writes
		file, err := os.Create(args[1])
		for err == nil {
			time.Sleep(time.Millisecond)
			_, err = file.Write(make([]byte, 4096))
		}
		os.Exit(5)
	case "keep": // says how much it finds, and then how much it has flushed of the first file
		keep(args[1], args[2])
	case "clock": // goes on writing what its clocks show
		for begin := time.Now(); ; time.Sleep(5 * time.Millisecond) {
			text := fmt.Sprintf("%d %d\n", time.Now().Unix(), time.Since(begin))
			if err := os.WriteFile(args[1]+".new", []byte(text), 0o600); err != nil {
				panic(err)
			}
			if err := os.Rename(args[1]+".new", args[1]); err != nil {
				panic(err)
			}
		}
	case "dial":
		conn, err := net.Dial("tcp", args[1])
		if err != nil {
			panic(err)
		}
		if _, err := io.WriteString(conn, "hello"); err != nil {
			panic(err)
		}
		_, _ = io.Copy(io.Discard, conn)
	}
	time.Sleep(time.Hour)
}

func starter(t *testing.T) *nemesis.Starter {
	t.Helper()
	s := nemesis.NewStarter()
	t.Cleanup(s.Close)
	return s
}

// process describes a child of these tests; it is killed at the end.
func process(t *testing.T, s *nemesis.Starter, id string, args ...string) *nemesis.Process {
	t.Helper()
	p := s.NewProcess(id, filepath.Join(t.TempDir(), "log"), append([]string{os.Args[0], "child"}, args...)...)
	t.Cleanup(func() {
		if err := p.Kill(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func await(t *testing.T, what string, good func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if good() {
			return
		}
	}
	t.Fatalf("waited in vain for %s", what)
}

// paused says whether the kernel has stopped a process.
func paused(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	return err == nil && strings.Contains(string(text), "State:\tT")
}

func TestAProcessIsKilledPausedAndStartedAgain(t *testing.T) {
	p := process(t, starter(t), "n1", "wait")
	if p.PID() != 0 {
		t.Error("it lives before its start")
	}
	must(t, p.Start())
	first := p.PID()
	must(t, p.Start(), p.Pause())
	if p.PID() != first {
		t.Error("a second start replaced the process")
	}
	await(t, "the pause", func() bool { return paused(first) })
	must(t, p.Resume())
	await(t, "the resumption", func() bool { return !paused(first) })
	must(t, p.Pause(), p.Kill(), p.Kill())
	if err := syscall.Kill(first, 0); p.PID() != 0 || !errors.Is(err, syscall.ESRCH) {
		t.Errorf("killed, it is there as %d, %v", p.PID(), err)
	}
	must(t, p.Start())
	if p.PID() == 0 || p.PID() == first {
		t.Errorf("started again, it is %d after %d", p.PID(), first)
	}
	must(t, p.Stop(time.Minute))
	if got := p.Crashes(); len(got) != 0 {
		t.Errorf("what was asked for counts as a crash: %v", got)
	}
}

func TestWhatEndsByItselfIsACrash(t *testing.T) {
	p := process(t, starter(t), "n1", "fail")
	must(t, p.Start())
	await(t, "the end", func() bool { return p.PID() == 0 })
	if got := p.Crashes(); len(got) != 1 || !strings.Contains(got[0], "n1") || !strings.Contains(got[0], "exit status 3") {
		t.Errorf("crashes: %q", got)
	}
}

func TestNoProcessOutlivesItsStarter(t *testing.T) {
	s := nemesis.NewStarter()
	p := process(t, s, "n1", "wait")
	must(t, p.Start())
	pid := p.PID()
	s.Close()
	await(t, "the end", func() bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) })
}

// echo answers every connection with what it gets, until the test ends.
func echo(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	done := make(chan struct{})
	t.Cleanup(func() { listener.Close(); <-done })
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_, _ = io.Copy(conn, conn)
			}()
		}
	}()
	return listener.Addr().String()
}

// free is an address that nobody listens on.
func free(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer listener.Close()
	return listener.Addr().String()
}

// says sends a text and says whether it comes back within the time.
func says(t *testing.T, conn net.Conn, text string, within time.Duration) bool {
	t.Helper()
	if text != "" {
		_, err := io.WriteString(conn, text)
		must(t, err)
	}
	must(t, conn.SetReadDeadline(time.Now().Add(within)))
	buf := make([]byte, 4)
	_, err := io.ReadFull(conn, buf)
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
	return err == nil
}

const (
	never = 100 * time.Millisecond // as long as a test waits for what must not come
	ever  = 30 * time.Second
)

func TestACutHoldsBackAndHealingDelivers(t *testing.T) {
	network := nemesis.NewNetwork(func(*net.TCPAddr) string { return "a" })
	t.Cleanup(network.Close)
	relay := free(t)
	must(t, network.Relay("b", relay, echo(t)))
	dial := func() net.Conn {
		conn, err := net.Dial("tcp", relay)
		must(t, err)
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	conn := dial()
	if !says(t, conn, "ping", ever) {
		t.Fatal("nothing comes through an open network")
	}
	f := func(from, to string) {
		t.Helper()
		network.Cut(from, to)
		if says(t, conn, "ping", never) {
			t.Errorf("an answer came through %s → %s, which is cut", from, to)
		}
		network.Heal()
		if !says(t, conn, "", ever) {
			t.Errorf("what was held back on %s → %s never came", from, to)
		}
	}
	f("a", "b")
	f("b", "a")
	network.Cut("a", "b")
	network.Cut("b", "a")
	network.Mend("a", "b")
	if says(t, conn, "ping", never) {
		t.Error("mending one direction has mended the other")
	}
	network.Mend("b", "a")
	if !says(t, conn, "", ever) {
		t.Error("what was held back never came through mended links")
	}
	network.Cut("a", "c")
	network.Cut("c", "b")
	if !says(t, conn, "ping", ever) {
		t.Error("other nodes' cuts hold this connection back")
	}
	network.Cut("a", "b")
	late := dial()
	if says(t, late, "ping", never) {
		t.Error("a new connection came through a cut")
	}
	network.Heal()
	if !says(t, late, "", ever) {
		t.Error("a connection made during a cut is dead after it")
	}
	if network.Unknown() != 0 {
		t.Errorf("%d connections of unknown origin", network.Unknown())
	}
	network.Cut("a", "b") // Close must not wait for it
}

func TestARelayConnectsAsItIsTold(t *testing.T) {
	network := nemesis.NewNetwork(func(*net.TCPAddr) string { return "a" })
	t.Cleanup(network.Close)
	answers := echo(t)
	network.Dial = func(target string) (net.Conn, error) {
		if target != "somewhere" {
			return nil, fmt.Errorf("%s is nowhere", target)
		}
		return net.Dial("tcp", answers)
	}
	there, nowhere := free(t), free(t)
	must(t, network.Relay("b", there, "somewhere"), network.Relay("c", nowhere, answers))
	conn, err := net.Dial("tcp", there)
	must(t, err)
	defer conn.Close()
	if !says(t, conn, "ping", ever) {
		t.Error("nothing comes back")
	}
	lost, err := net.Dial("tcp", nowhere)
	must(t, err)
	defer lost.Close()
	must(t, lost.SetReadDeadline(time.Now().Add(ever)))
	if _, err := lost.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("a connection that leads nowhere ends with %v", err)
	}
}

func TestAnImpairedLinkIsLateAndKeepsTheOrder(t *testing.T) {
	network := nemesis.NewNetwork(func(*net.TCPAddr) string { return "a" })
	t.Cleanup(network.Close)
	relay := free(t)
	must(t, network.Relay("b", relay, echo(t)))
	conn, err := net.Dial("tcp", relay)
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	took := func() time.Duration {
		t.Helper()
		begin := time.Now()
		for _, text := range []string{"one.", "two."} {
			_, err := io.WriteString(conn, text)
			must(t, err)
		}
		buf := make([]byte, 8)
		_, err := io.ReadFull(conn, buf)
		if must(t, err); string(buf) != "one.two." {
			t.Fatalf("came back as %q", buf)
		}
		return time.Since(begin)
	}
	const late = 150 * time.Millisecond
	network.Impair("a", "b", nemesis.Impairment{Delay: late, Jitter: late})
	network.Impair("b", "a", nemesis.Impairment{Delay: late})
	if d := took(); d < 2*late {
		t.Errorf("it took %s", d)
	}
	network.Heal()
	network.Impair("a", "b", nemesis.Impairment{Loss: 0.999})
	if d := took(); d < 200*time.Millisecond {
		t.Errorf("what was lost took %s", d)
	}
}

func TestAConnectionIsItsProcesses(t *testing.T) {
	s := starter(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer listener.Close()
	other, dialler := process(t, s, "other", "wait"), process(t, s, "dialler", "dial", listener.Addr().String())
	must(t, other.Start(), dialler.Start())
	conn, err := listener.Accept()
	must(t, err)
	defer conn.Close()
	_, err = io.ReadFull(conn, make([]byte, 5))
	must(t, err)
	address := conn.RemoteAddr().(*net.TCPAddr)
	if got := nemesis.OwnerOf(address, []*nemesis.Process{other, dialler}); got != dialler {
		t.Errorf("the connection is that of %v", got)
	}
	if got := nemesis.OwnerOf(address, []*nemesis.Process{other}); got != nil {
		t.Errorf("the connection is that of %s", got.ID())
	}
}

func TestASeedGivesOneSchedule(t *testing.T) {
	kinds := slices.Concat(nemesis.ProcessKinds(), nemesis.NetworkKinds(), nemesis.OverlapKinds())
	draw := func(seed uint64) (actions []nemesis.Action) {
		s := nemesis.NewSchedule(seed, 5*time.Second, kinds...)
		for range 3 * s.Round() {
			actions = append(actions, s.Next())
		}
		return actions
	}
	first := draw(1)
	if diff := cmp.Diff(first, draw(1)); diff != "" {
		t.Errorf("the same seed: -first+second\n%s", diff)
	}
	if cmp.Equal(first, draw(2)) {
		t.Error("another seed gives the same")
	}
	for round := range slices.Chunk(first, len(kinds)) {
		for _, kind := range kinds {
			if !slices.ContainsFunc(round, func(a nemesis.Action) bool { return a.Kind == kind }) {
				t.Errorf("a round lacks %s", kind)
			}
		}
	}
	for _, a := range first {
		most := 5 * time.Second
		if a.Kind == nemesis.LongPause {
			most = 30 * time.Second
		}
		if a.Length < 100*time.Millisecond || a.Length > most || a.Gap < 0 || a.Gap > time.Second {
			t.Errorf("%+v is out of bounds", a)
		}
	}
}

// cluster is a nemesis of three processes that only wait, and a network that
// carries nothing.
func cluster(t *testing.T) *nemesis.Nemesis {
	t.Helper()
	s := starter(t)
	network := nemesis.NewNetwork(func(*net.TCPAddr) string { return "" })
	n := &nemesis.Nemesis{
		Links:    network,
		Operator: &operator{down: func(string) bool { return true }},
		Recorder: history.NewRecorder(),
		Leader:   func(context.Context) string { return "n2" },
	}
	t.Cleanup(network.Close)
	for _, id := range []string{"n1", "n2", "n3"} {
		n.Processes = append(n.Processes, process(t, s, id, "wait"))
	}
	n.Recovered = func(context.Context) error {
		for _, p := range n.Processes {
			if p.PID() == 0 || paused(p.PID()) {
				return fmt.Errorf("%s is not healed", p.ID())
			}
		}
		return nil
	}
	must(t, n.Heal())
	return n
}

func TestEveryKindIsInjectedRecordedAndHealed(t *testing.T) {
	n := cluster(t)
	ended, end := context.WithCancel(context.Background())
	end() // one round, and no waits between
	kinds := slices.Concat(nemesis.ProcessKinds(), nemesis.NetworkKinds(), nemesis.OperatorKinds(), nemesis.OverlapKinds())
	must(t, n.Run(ended, nemesis.NewSchedule(1, time.Millisecond, kinds...)), n.Recovered(ended))
	faults := n.Recorder.History().Faults
	if len(faults) != len(kinds) {
		t.Errorf("%d faults of %d kinds", len(faults), len(kinds))
	}
	for _, f := range faults {
		want, most := 1, 0
		switch nemesis.Kind(f.Kind) {
		case nemesis.KillAll, nemesis.StormAll, nemesis.Shatter, nemesis.OneWayRing, nemesis.Swizzle, nemesis.SlowNetwork, nemesis.Lossy, nemesis.TransferStorm, nemesis.StrictMode:
			want = 3
		case nemesis.SplitPair, nemesis.StrandOne, nemesis.PauseCut, nemesis.CutPaused, nemesis.ReturnChange, nemesis.KillMajority, nemesis.TransferCut:
			want = 2
		case nemesis.InTurn:
			want, most = 2, 3
		case nemesis.Degraded: // one, and two or three others
			want, most = 3, 4
		}
		at := !slices.Contains(nemesis.OperatorKinds(), nemesis.Kind(f.Kind))
		if len(f.Nodes) < want || len(f.Nodes) > max(want, most) || at && f.End-f.Begin < 100*time.Millisecond || f.Served < f.End {
			t.Errorf("recorded %+v", f)
		}
		if halves := f.Kind == string(nemesis.SplitHalves) || f.Kind == string(nemesis.Bridge); halves != strings.Contains(f.Detail, "n2 leads in the") {
			t.Errorf("%s of %v is told as %q", f.Kind, f.Nodes, f.Detail)
		}
		if strings.HasSuffix(f.Kind, "-leader") && f.Nodes[0] != "n2" {
			t.Errorf("%s met %v", f.Kind, f.Nodes)
		}
		if slices.Contains(nemesis.OverlapKinds(), nemesis.Kind(f.Kind)) && strings.Count(f.Detail, "no more") != len(f.Nodes) {
			t.Errorf("%s of %v is told as %s", f.Kind, f.Nodes, f.Detail)
		}
	}
}

// operator counts what it is asked for.
type operator struct {
	transfers, demoted, promoted, replaced, compacted int
	strictly                                          []bool
	down                                              func(id string) bool
}

func (o *operator) Transfer(context.Context) error {
	if o.transfers++; o.transfers%2 == 0 {
		return errors.New("an election is under way")
	}
	return nil
}
func (o *operator) Demote(context.Context, string) error  { o.demoted++; return nil }
func (o *operator) Promote(context.Context, string) error { o.promoted++; return nil }
func (o *operator) Strictly(_ context.Context, strictly bool) error {
	o.strictly = append(o.strictly, strictly)
	return nil
}
func (o *operator) Replace(context.Context, *nemesis.Process) error { o.replaced++; return nil }
func (o *operator) Compact(_ context.Context, without string) error {
	if o.compacted++; !o.down(without) {
		return errors.New(without + " is up")
	}
	return nil
}

func TestAnOperatorIsAskedAtABadTime(t *testing.T) {
	n := cluster(t)
	o := &operator{down: func(id string) bool {
		return slices.ContainsFunc(n.Processes, func(p *nemesis.Process) bool { return p.ID() == id && p.PID() == 0 })
	}}
	n.Operator = o
	ended, end := context.WithCancel(context.Background())
	end()
	must(t, n.Run(ended, nemesis.NewSchedule(1, time.Millisecond, nemesis.OperatorKinds()...)), n.Recovered(ended))
	if o.transfers < 3 || o.demoted != 1 || o.promoted != 1 || o.replaced != 1 || o.compacted != 1 || !slices.Equal(o.strictly, []bool{true, false}) {
		t.Errorf("it was asked for %+v", o)
	}
	n.Operator = nil
	if err := n.Run(ended, nemesis.NewSchedule(1, time.Millisecond, nemesis.DemoteOne)); err == nil {
		t.Error("a demotion without an operator")
	}
}

func TestAClusterThatDoesNotRecover(t *testing.T) {
	n := cluster(t)
	healed := n.Recovered
	n.Recovered = func(context.Context) error { return errors.New("n3 says no") }
	err := n.Run(context.Background(), nemesis.NewSchedule(1, time.Millisecond, nemesis.PauseLeader))
	if !errors.Is(err, nemesis.ErrNotRecovered) || !strings.Contains(err.Error(), "n3 says no") || !strings.Contains(err.Error(), "pause-leader") {
		t.Errorf("got %v", err)
	}
	must(t, healed(context.Background()))
	n.Links = nil
	if err := n.Run(context.Background(), nemesis.NewSchedule(1, time.Millisecond, nemesis.SplitPair)); err == nil {
		t.Error("a partition without a network")
	}
	faults := n.Recorder.History().Faults
	if last := faults[len(faults)-1]; last.Kind != string(nemesis.SplitPair) || last.End <= last.Begin || last.Served != 0 {
		t.Errorf("a fault that failed is recorded as %+v", last)
	}
}

// A disk that is slow leaves a process as it is; one that fails must end it,
// and whoever goes on is found. Where processes cannot be traced that is said.
func TestADiskFails(t *testing.T) {
	file := filepath.Join(t.TempDir(), "synced")
	n := cluster(t)
	s := starter(t)
	n.Processes = []*nemesis.Process{process(t, s, "n1", "sync", file)}
	must(t, n.Heal())
	ended, end := context.WithCancel(context.Background())
	end() // one fault of the kind
	first := n.Processes[0].PID()
	if trouble := nemesis.DiskTrouble(); trouble != nil { // who cannot make it is told why
		if err := n.Run(ended, nemesis.NewSchedule(1, time.Millisecond, nemesis.SlowDisk)); err == nil || !strings.Contains(err.Error(), trouble.Error()) {
			t.Errorf("%v, want %v", err, trouble)
		}
		return
	}
	must(t, n.Run(ended, nemesis.NewSchedule(1, time.Millisecond, nemesis.SlowDisk)))
	if n.Processes[0].PID() != first {
		t.Error("a slow disk has ended the process")
	}
	must(t, n.Run(ended, nemesis.NewSchedule(1, time.Millisecond, nemesis.FailDisk)))
	if n.Processes[0].PID() == first || len(n.Processes[0].Crashes()) > 0 {
		t.Errorf("after a disk that failed it is %d, %d before; crashes: %v", n.Processes[0].PID(), first, n.Processes[0].Crashes())
	}
}

func TestANodeGoesOnAsAnotherProgram(t *testing.T) {
	n := cluster(t)
	ended, end := context.WithCancel(context.Background())
	end() // one round
	if err := n.Run(ended, nemesis.NewSchedule(1, time.Millisecond, nemesis.OtherProgram)); err == nil || !strings.Contains(err.Error(), "no other program") {
		t.Errorf("a change of programs where there is one: %v", err)
	}
	link := filepath.Join(t.TempDir(), "other")
	must(t, os.Symlink(os.Args[0], link))
	n.Programs = []string{os.Args[0], link}
	leader := n.Processes[1]
	for _, want := range []string{link, os.Args[0]} {
		pid := leader.PID()
		must(t, n.Run(ended, nemesis.NewSchedule(1, time.Millisecond, nemesis.OtherLeader)))
		command, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", leader.PID()))
		if must(t, err); leader.PID() == pid || !strings.HasPrefix(string(command), want+"\x00child\x00wait") {
			t.Errorf("it goes on as %q (pid %d, %d before), want %s", command, leader.PID(), pid, want)
		}
		faults := n.Recorder.History().Faults
		if last := faults[len(faults)-1]; last.Detail != "to "+want || last.Nodes[0] != "n2" {
			t.Errorf("recorded as %+v", last)
		}
	}
	if got := leader.Crashes(); len(got) != 0 {
		t.Errorf("crashes: %v", got)
	}
}
