package fsm_test

import (
	"fmt"

	"pgregory.net/rapid"

	"github.com/raftkms/raftkms/fsm"
	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/fsmtest"
)

// The logs that the property tests draw. Few names, so that commands meet.
var (
	someNames  = rapid.SampledFrom([]string{"a", "b", "c", "d/default", "e"})
	someKeys   = rapid.SampledFrom([]string{"a", "b", "c", "e", "f"})
	someTokens = rapid.SampledFrom([]string{"t1", "t2"})
	someNodes  = rapid.SampledFrom([]string{"n1", "n2", "n3"})
)

func drawBody(t *rapid.T) command.Body {
	switch rapid.IntRange(0, 9).Draw(t, "kind") {
	case 0, 1, 2:
		b := fsmtest.CreateKey(someNames.Draw(t, "name"))
		b.KeyID = fsmtest.KeyID(someKeys.Draw(t, "id"))
		return b
	case 3, 4:
		return fsmtest.DisableKey(someKeys.Draw(t, "key"))
	case 5, 6:
		return fsmtest.EnableKey(someKeys.Draw(t, "key"))
	case 7:
		return command.CreateJoinToken{
			ID:      fsmtest.TokenID(someTokens.Draw(t, "token")),
			Expires: fsmtest.Start + rapid.Int64Range(0, 2_000_000).Draw(t, "expires"),
		}
	case 8:
		b := fsmtest.AdmitNode(someTokens.Draw(t, "token"), someNodes.Draw(t, "node"))
		b.Node.TransportKey = fsmtest.Fingerprint("transport " + someNodes.Draw(t, "transport"))
		return b
	default:
		if rapid.IntRange(0, 4).Draw(t, "rare") == 0 {
			return fsmtest.Bootstrap()
		}
		return fsmtest.ApproveRoots(someNodes.Draw(t, "node"))
	}
}

// drawCommand draws a command whose caller may mostly ask for it, and whose
// proposal may be one that was seen before.
func drawCommand(t *rapid.T, m *fsmtest.Machine) command.Command {
	m.Now += rapid.SampledFrom([]int64{0, 0, 1, 700, 400_000, -3000}).Draw(t, "wait")
	cmd := m.Command(drawBody(t))
	cmd.Proposal.ID = fmt.Sprintf("p%d", rapid.IntRange(0, 40).Draw(t, "proposal"))
	switch rapid.IntRange(0, 9).Draw(t, "oddity") {
	case 0:
		cmd.Caller.CredentialID = "RAFTKMS0ACCESSKEY009"
	case 1:
		cmd.Caller.Kind = command.CallerKind(rapid.IntRange(1, 3).Draw(t, "door"))
	case 2:
		cmd.Proposal.First -= rapid.Int64Range(0, 1_000_000).Draw(t, "age")
	}
	return cmd
}

// drawLog draws a log that mostly begins with a bootstrap and holds marks.
func drawLog(t *rapid.T, m *fsmtest.Machine) []fsm.Entry {
	var log []fsm.Entry
	if rapid.IntRange(0, 9).Draw(t, "unborn") > 0 {
		log = append(log, m.Entry(m.Command(fsmtest.Bootstrap())))
	}
	for range rapid.IntRange(0, 40).Draw(t, "entries") {
		e := m.Entry(drawCommand(t, m))
		if rapid.IntRange(0, 9).Draw(t, "mark") == 0 {
			e.Data = nil
		}
		log = append(log, e)
	}
	return log
}
