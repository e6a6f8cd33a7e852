package fsm_test

import (
	"crypto/sha256"
	"fmt"

	"pgregory.net/rapid"

	"github.com/raftkms/raftkms/fsm"
	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/fsmtest"
	"github.com/raftkms/raftkms/fsm/state"
)

// The logs that the property tests draw. Few names, so that commands meet.
var (
	someNames  = rapid.SampledFrom([]string{"a", "b", "c", "d/default", "e"})
	someKeys   = rapid.SampledFrom([]string{"a", "b", "c", "e", "f"})
	someTokens = rapid.SampledFrom([]string{"t1", "t2"})
	someAlias  = rapid.SampledFrom([]string{"a", "alias/b", "x", "alias/x", "y", "z/default"})
	someWaits  = rapid.SampledFrom([]int64{1000, 700_000, 7 * days})
	someDays   = rapid.SampledFrom([]uint32{7, 8, 30})
	someNodes  = rapid.SampledFrom([]string{"n1", "n2", "n3"})
)

func drawBody(t *rapid.T) command.Body {
	switch rapid.IntRange(0, 27).Draw(t, "kind") {
	case 24, 25, 26, 27:
		return drawGrants(t)
	case 20, 21, 22, 23:
		return drawTags(t)
	case 10, 11, 12, 13, 14, 15, 16, 17, 18, 19:
		return drawLife(t)
	case 0, 1, 2:
		b := fsmtest.CreateKey(someNames.Draw(t, "name"))
		if rapid.IntRange(0, 4).Draw(t, "external") == 0 {
			b = fsmtest.CreateExternalKey(b.Name)
		}
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
		switch rapid.IntRange(0, 11).Draw(t, "member") {
		case 7:
			b := command.RotateRoots{Step: command.RootStep(rapid.ByteRange(0, 5).Draw(t, "step")), Generation: rapid.Uint32Range(1, 3).Draw(t, "generation"),
				EndTokens: rapid.Bool().Draw(t, "end tokens")}
			if b.Step == command.RootStage {
				b.Canary = []byte("canary")
			}
			return b
		case 8:
			return command.ReportRoots{NodeID: rapid.SampledFrom([]string{fsmtest.NodeID, someNodes.Draw(t, "node")}).Draw(t, "which"), Generation: rapid.Uint32Range(1, 3).Draw(t, "generation"), Canary: sha256.Sum256([]byte("canary"))}
		case 9:
			return drawRewrap(t)
		case 6:
			b := command.RotateGossipKey{Step: command.GossipStep(rapid.ByteRange(0, 5).Draw(t, "step"))}
			if b.Step == command.GossipStage {
				b.Sealed = []byte(rapid.StringN(0, 10, 20).Draw(t, "sealed"))
			}
			return b
		case 10:
			b := command.RotateCA{Step: command.CAStep(rapid.ByteRange(0, 6).Draw(t, "step"))}
			if b.Step == command.CAStage {
				b.Certificate, b.Sealed = []byte(rapid.StringN(0, 10, 20).Draw(t, "CA")), []byte("sealed")
			}
			return b
		case 11:
			return fsmtest.ReportCAs(rapid.SampledFrom([]string{fsmtest.NodeID, someNodes.Draw(t, "node")}).Draw(t, "which"), "CA", rapid.SliceOfN(rapid.SampledFrom([]string{"", "CA", "new CA"}), 0, 3).Draw(t, "trusted")...)
		case 0:
			return command.RemoveNode{NodeID: someNodes.Draw(t, "node")}
		case 1:
			return command.SetStandby{NodeID: someNodes.Draw(t, "node"), Standby: rapid.Bool().Draw(t, "standby")}
		case 2:
			return fsmtest.ReportNode(rapid.SampledFrom([]string{fsmtest.NodeID, someNodes.Draw(t, "node")}).Draw(t, "which"), rapid.Uint32Range(0, 2).Draw(t, "highest"))
		case 3:
			return command.RaiseLevel{Level: rapid.Uint32Range(0, 1).Draw(t, "level")} // above it a machine stops
		}
		return fsmtest.ApproveRoots(someNodes.Draw(t, "node"))
	}
}

// drawRewrap draws something that was put under other roots: mostly the first
// material of a key, which may have been replaced already.
func drawRewrap(t *rapid.T) command.Body {
	generation := rapid.Uint32Range(1, 3).Draw(t, "generation")
	key := fsmtest.CreateKey(someKeys.Draw(t, "key"))
	p := command.Rewrapped{
		What: state.SealedVersion, ID: key.KeyID, Number: 1, Old: sha256.Sum256(key.Blob),
		Bytes: fmt.Appendf(nil, "%s under roots %d", key.Blob, generation), MAC: key.MAC,
	}
	if rapid.Bool().Draw(t, "seal") {
		p = command.Rewrapped{What: state.SealedAccessKey, ID: fsmtest.AccessKeyID, Old: sha256.Sum256(fsmtest.Bootstrap().SealedSecret), Bytes: []byte("sealed again")}
	}
	return command.RewrapRecords{Generation: generation, Parts: []command.Rewrapped{p}}
}

// drawCommand draws a command whose caller may mostly ask for it, and whose
// proposal may be one that was seen before.
func drawCommand(t *rapid.T, m *fsmtest.Machine) command.Command {
	m.Now += rapid.SampledFrom([]int64{0, 0, 1, 700, 400_000, -3000}).Draw(t, "wait")
	var cmd command.Command
	switch rapid.IntRange(0, 6).Draw(t, "about") {
	case 0, 1:
		cmd = m.Command(drawIdentity(t))
	case 2:
		cmd = m.Command(drawImport(t, m))
	case 3:
		cmd = m.Command(drawRest(t, m))
	default:
		cmd = m.Command(drawBody(t))
	}
	if cmd.Caller.Kind == command.CallerUser && rapid.IntRange(0, 4).Draw(t, "as") == 0 {
		cmd.Caller = fsmtest.CallerAs(someUsers.Draw(t, "caller"))
	}
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

// drawLife draws something that happens to a key. What is due was due at the
// latest when the log began, or at one of the times that others set.
func drawLife(t *rapid.T) command.Body {
	key := someKeys.Draw(t, "key")
	due := func() int64 {
		return fsmtest.Start + rapid.SampledFrom([]int64{1000, 1001, 1500, 700_000, 7 * days, 8 * days}).Draw(t, "due")
	}
	number := func() uint32 { return rapid.Uint32Range(1, 3).Draw(t, "version") }
	switch rapid.IntRange(0, 15).Draw(t, "life") {
	case 0, 1:
		return fsmtest.ScheduleDeletion(key, someWaits.Draw(t, "after"))
	case 2:
		return fsmtest.CancelDeletion(key)
	case 3:
		return fsmtest.ProtectKey(key, rapid.Bool().Draw(t, "on"))
	case 4:
		return fsmtest.RenameKey(key, someNames.Draw(t, "to"))
	case 5, 6:
		return fsmtest.CreateAlias(key, someAlias.Draw(t, "alias"))
	case 7:
		return fsmtest.DeleteAliases(key, someAlias.Draw(t, "alias"))
	case 8:
		return fsmtest.AssociateAlias(key, someAlias.Draw(t, "alias"))
	case 9:
		return fsmtest.EnableRotation(key, someDays.Draw(t, "days"))
	case 10:
		return fsmtest.SetRotationInterval(key, someDays.Draw(t, "days"))
	case 11:
		return fsmtest.DisableRotation(key)
	case 12:
		return fsmtest.RotateKey(key, number())
	case 13:
		return fsmtest.RotateDueKey(key, due(), number())
	case 14:
		return command.DeleteDueKey{KeyID: fsmtest.KeyID(key), Due: due()}
	default:
		return command.RecordUse{Uses: []command.VersionUse{{KeyID: fsmtest.KeyID(key), Number: number(), Last: due()}}}
	}
}
