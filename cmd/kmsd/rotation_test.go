package main_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/raftkms/raftkms/client"
	"github.com/raftkms/raftkms/client/devfile"
	"github.com/raftkms/raftkms/fsm/state"
)

// What the rotations of the test are like: groups of keys are due at one
// instant each, and the leader is killed around such an instant.
const (
	rotationKills = 6
	rotationGroup = 16 // twice what a scheduler does at once
	rotationDays  = 30

	// rotationPace is between two due times: a kill, an election and the killed
	// node's return fit in.
	rotationPace = 8 * time.Second
)

// The leader is killed around every due time, some of the versions that were
// due made and some not: in the end every key has exactly one new version,
// whoever led. What was due while a key was out of use is made up for as soon
// as the key is enabled again, once for however many periods.
func TestRotationsOutliveTheirLeaders(t *testing.T) {
	dir := t.TempDir()
	c := startCluster(t, dir, "--module", "soft", "--port", strconv.Itoa(freePort(t, 3)), "--nodes", "3")
	own, done := ownClient(t, dir)
	ctx := t.Context()
	var keys []string
	sealed := make(map[string]client.DataKey)
	rotating := func(name string) string {
		t.Helper()
		key, err := own.CreateKey(ctx, client.NewKey{Name: name})
		must(t, err)
		must(t, own.EnableRotation(ctx, key, rotationDays))
		sealed[key], err = own.CreateDataKey(ctx, key, client.DataKeyOptions{})
		must(t, err)
		return key
	}
	for i := range rotationKills * rotationGroup {
		keys = append(keys, rotating(fmt.Sprintf("due-%d", i)))
	}
	disabled, pending, never := rotating("disabled"), rotating("pending"), rotating("never")
	must(t, own.DisableKey(ctx, disabled))
	must(t, own.DisableRotation(ctx, never))
	must(t, own.ScheduleDeletion(ctx, pending, 7))
	done()
	c.stop(syscall.SIGTERM)

	first := time.Now().Add(20 * time.Second)
	due := func(i int) time.Time { return first.Add(time.Duration(i/rotationGroup) * rotationPace) }
	c.wind(t, func(x *state.Txn) {
		set := func(id string, at time.Time) {
			found, ok := x.Key(id)
			if !ok {
				t.Fatalf("there is no key %s", id)
			}
			key := *found
			key.RotationDue = at.UnixMilli()
			x.PutKey(&key)
		}
		for i, key := range keys {
			set(key, due(i))
		}
		for _, key := range []string{disabled, pending} {
			set(key, time.Now().AddDate(0, -7, 0)) // periods ago
		}
	})
	c = startCluster(t, dir)
	own, done = ownClient(t, dir)
	defer done()
	for round, killed := range killLeadersAround(t, c, own, keys, due) {
		before, at := 0, due(round*rotationGroup)
		for _, key := range groupOf(keys, round) {
			await(t, "the rotation of "+key, func() bool { return rotations(t, own, key) > 0 })
			if rotatedOnce(t, own, key, at).Before(killed) {
				before++
			}
		}
		t.Logf("round %d: %d of %d keys were rotated before the leader was killed, %v after the due time", round, before, rotationGroup, killed.Sub(at).Round(time.Millisecond))
	}
	for _, key := range []string{disabled, pending, never} {
		if n := rotations(t, own, key); n != 0 {
			t.Errorf("the key %s, out of use or without a period, was rotated %d times", key, n)
		}
	}
	must(t, own.CancelDeletion(ctx, pending))
	for _, key := range []string{disabled, pending} {
		enabled := time.Now().Truncate(time.Millisecond)
		must(t, own.EnableKey(ctx, key))
		await(t, "the rotation that was overdue", func() bool { return rotations(t, own, key) > 0 })
		rotatedOnce(t, own, key, enabled)
	}
	// Another look of the scheduler at all of them changes nothing.
	time.Sleep(3 * time.Second)
	for _, key := range append(keys, disabled, pending) {
		if n := rotations(t, own, key); n != 1 {
			t.Errorf("%s was rotated %d times", key, n)
		}
		opened, err := own.DecryptDataKey(ctx, key, sealed[key].Ciphertext, client.DataKeyOptions{})
		if err != nil || !bytes.Equal(opened, sealed[key].Plaintext) {
			t.Errorf("what the first version of %s sealed: %v", key, err)
		}
	}
}

// killLeadersAround kills the leader at every due time: in turns at once when the
// first key of the group is seen to be rotated, and at any moment of the second in
// which a scheduler looks. It returns when it did.
func killLeadersAround(t *testing.T, c *cluster, own *client.Client, keys []string, due func(int) time.Time) (killed []time.Time) {
	t.Helper()
	pids := make([]int, len(c.file.Nodes))
	for i, n := range c.file.Nodes {
		pids[i] = n.PID
	}
	for round := range rotationKills {
		first, at := slices.Min(groupOf(keys, round)), due(round*rotationGroup)
		leader := c.leader(t, (round+1)%len(pids))
		if late := time.Since(at); late > 0 {
			t.Logf("round %d begins %v after its due time", round, late)
		}
		time.Sleep(time.Until(at))
		if round%2 == 1 {
			time.Sleep(rand.N(1200 * time.Millisecond))
		}
		for round%2 == 0 && rotations(t, own, first) == 0 && time.Since(at) < startTimeout {
			continue // without a pause: the others are rotated in the next few milliseconds
		}
		killed = append(killed, time.Now())
		kill(t, pids[leader])
		awaitGone(t, pids[leader])
		pids[leader] = start(t, "serve", "--config", c.configFile(leader)).cmd.Process.Pid
		c.awaitReady(t, leader)
	}
	return killed
}

func groupOf(keys []string, round int) []string { return keys[round*rotationGroup:][:rotationGroup] }

// rotatedOnce wants that a key has two versions, the second not from before its
// time, and returns when that was made.
func rotatedOnce(t *testing.T, own *client.Client, key string, due time.Time) time.Time {
	t.Helper()
	status, err := own.RotationOf(t.Context(), key)
	must(t, err)
	versions, err := own.ListVersions(t.Context(), key)
	must(t, err)
	if !status.Enabled || status.Days != rotationDays || status.Count != 1 || status.Last.Before(due.Truncate(time.Millisecond)) {
		t.Errorf("%s, due at %v: %+v", key, due, status)
	}
	if len(versions) != 2 || versions[0].Number != 2 || !versions[0].Primary || versions[1].Primary || !versions[0].Created.Equal(status.Last) {
		t.Errorf("%s has the versions %+v after %+v", key, versions, status)
	}
	return status.Last
}

// rotations is how often a key was rotated, as any node says.
func rotations(t *testing.T, own *client.Client, key string) int {
	t.Helper()
	status, err := own.RotationOf(t.Context(), key)
	must(t, err)
	return status.Count
}

// ownClient is our own client, which asks another node when one is gone. It is
// closed by the test's end, or before.
func ownClient(t *testing.T, dir string) (own *client.Client, done func()) {
	t.Helper()
	own, err := client.NewFromDevFile(filepath.Join(dir, devfile.Name))
	must(t, err)
	return own, own.Close
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
