package campaign_test

import (
	"context"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/raftkms/raftkms/bench/campaign"
	"github.com/raftkms/raftkms/bench/nemesis"
	"github.com/raftkms/raftkms/hsm/hsmtest/faultylib"
)

// kmsd is the path of the program under test.
var kmsd string

// TestMain builds kmsd, unless RAFTKMS_KMSD names one.
func TestMain(m *testing.M) {
	if kmsd = os.Getenv("RAFTKMS_KMSD"); kmsd != "" {
		goleak.VerifyTestMain(m)
		return
	}
	dir, err := os.MkdirTemp("", "kmsd")
	if err != nil {
		panic(err)
	}
	kmsd = filepath.Join(dir, "kmsd")
	build := exec.Command("go", "build", "-o", kmsd, "../../cmd/kmsd")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		os.RemoveAll(dir)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(status int) {
		os.RemoveAll(dir)
		os.Exit(status)
	}))
}

// TestMixedFaults runs a short campaign with kills, pauses and partitions, and one
// of those of torture, by the seed.
//
//	RAFTKMS_TORTURE   a duration: one campaign after the other, each with a new
//	                  cluster and the next seed, until that time is over
//	RAFTKMS_SEED      of the first campaign; drawn where there is none
//	RAFTKMS_SCENARIO  a name in campaign.Scenarios, for that one alone; where there
//	                  is none and for torture, those of campaign.Torture in turn;
//	                  which of them this machine cannot play is logged
//	RAFTKMS_OTHER     another kmsd, which nodes change to and from where the
//	                  scenario says so; where there is none, a build that differs
//	                  in the feature level that it knows
func TestMixedFaults(t *testing.T) {
	seed, budget, names := rand.Uint64N(1_000_000), time.Duration(0), []string(nil)
	var err error
	if text := os.Getenv("RAFTKMS_SEED"); text != "" {
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	if text := os.Getenv("RAFTKMS_TORTURE"); text != "" {
		if budget, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
	}
	if name := os.Getenv("RAFTKMS_SCENARIO"); name != "" {
		names = []string{name}
	} else if budget == 0 {
		if run(t, campaign.Scenarios()["short"], seed); t.Failed() {
			return
		}
	}
	begin, first := time.Now(), seed
	if names == nil {
		var leftOut []campaign.Omission
		names, leftOut = campaign.Torture()
		tell := func() {
			for _, o := range leftOut {
				t.Logf("on this machine torture goes %v", o)
			}
		}
		tell()
		defer func() {
			t.Logf("%d campaigns in %s, from seed %d", seed-first+1, time.Since(begin).Round(time.Second), first)
			tell() // where whoever looks at the end alone sees it
		}()
	}
	for ; ; seed++ {
		name := names[int(seed%uint64(len(names)))]
		scenario, known := campaign.Scenarios()[name]
		if !known {
			t.Fatalf("there is no scenario %q", name)
		}
		run(t, scenario, seed)
		if t.Failed() || time.Since(begin) >= budget {
			return
		}
	}
}

// TestRevocations runs a campaign in which rights of every kind are taken away
// while leaders are paused and cut off.
func TestRevocations(t *testing.T) {
	run(t, campaign.Scenarios()["rights"], rand.Uint64N(1_000_000))
}

// TestOverlappingFaults runs a campaign in which the leader is cut off while it, or
// another node, is paused or killed, and the nodes erase all the time.
func TestOverlappingFaults(t *testing.T) {
	run(t, campaign.Scenarios()["overlap-short"], rand.Uint64N(1_000_000))
}

// TestStrandedNodes runs a campaign in which a node's way to the leader is cut:
// others answer for it, and nobody uses there what was taken away.
func TestStrandedNodes(t *testing.T) {
	run(t, campaign.Scenarios()["stranded"], rand.Uint64N(1_000_000))
}

// TestClocksInTurn runs a campaign in which two clocks are wrong, but never at the
// same time.
func TestClocksInTurn(t *testing.T) {
	if trouble := nemesis.ClockTrouble(); trouble != nil {
		t.Logf("all clocks are right here: %v", trouble)
		return
	}
	run(t, campaign.Scenarios()["turns"], rand.Uint64N(1_000_000))
}

// faulty makes a library that misbehaves when it is told to.
func faulty(dir, library string) (string, nemesis.Device, error) {
	d, err := faultylib.New(dir, library)
	if err != nil {
		return "", nil, err
	}
	return d.Path, d, nil
}

// other is the program that nodes change to and from, where the scenario has that.
func other(t *testing.T, s campaign.Scenario) string {
	t.Helper()
	if !slices.ContainsFunc(s.Kinds, func(k nemesis.Kind) bool { return slices.Contains(nemesis.ProgramKinds(), k) }) {
		return ""
	}
	if named := os.Getenv("RAFTKMS_OTHER"); named != "" {
		return named
	}
	next := filepath.Join(t.TempDir(), "kmsd-next")
	build := exec.Command("go", "build", "-ldflags", "-X main.featureLevel=2 -X main.version=next", "-o", next, "../../cmd/kmsd")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building the other kmsd: %v\n%s", err, out)
	}
	return next
}

// run runs one campaign. Its directory stays where it failed.
func run(t *testing.T, s campaign.Scenario, seed uint64) {
	t.Helper()
	dir, err := os.MkdirTemp("", "campaign-")
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s campaign with RAFTKMS_SEED=%d in %s", s.Name, seed, dir)
	report, err := campaign.Run(context.Background(), campaign.Config{
		Scenario: s, Seed: seed, Kmsd: kmsd, Other: other(t, s), Dir: dir,
		Say: t.Logf, Device: faulty,
	})
	if report != nil {
		t.Log("\n" + report.String())
	}
	if err != nil {
		t.Errorf("RAFTKMS_SEED=%d failed; everything about it is in %s", seed, dir)
		if report == nil {
			t.Error(err)
		}
		return
	}
	os.RemoveAll(dir)
}
