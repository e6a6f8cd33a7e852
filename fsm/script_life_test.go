package fsm_test

import (
	"fmt"
	"strings"

	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/fsmtest"
	"github.com/raftkms/raftkms/fsm/state"
)

// lifeBody is [script.body] for what happens in the life of a key.
func (s *script) lifeBody(name string, take func(string, string) string, number func(string, int64) int64) command.Body {
	key := func() string { return take("name", "") }
	due := func() int64 { return fsmtest.Start + number("due", 0) }
	switch name {
	case "schedule-deletion":
		return fsmtest.ScheduleDeletion(key(), number("after", 7*24*3600_000))
	case "cancel-deletion":
		return fsmtest.CancelDeletion(key())
	case "delete-due":
		return command.DeleteDueKey{KeyID: fsmtest.KeyID(key()), Due: due()}
	case "rename":
		return fsmtest.RenameKey(key(), take("to", ""))
	case "describe":
		return command.UpdateDescription{ProjectID: fsmtest.ProjectID, KeyID: fsmtest.KeyID(key()), Description: strings.Repeat("d", int(number("description", 1)))}
	case "protect", "unprotect":
		return fsmtest.ProtectKey(key(), name == "protect")
	case "create-alias":
		return fsmtest.CreateAlias(key(), take("alias", ""))
	case "delete-aliases":
		return fsmtest.DeleteAliases(key(), strings.Split(take("alias", ""), ",")...)
	case "associate-alias":
		return fsmtest.AssociateAlias(key(), take("alias", ""))
	case "enable-rotation":
		return fsmtest.EnableRotation(key(), uint32(number("days", 30)))
	case "set-rotation":
		return fsmtest.SetRotationInterval(key(), uint32(number("days", 30)))
	case "disable-rotation":
		return fsmtest.DisableRotation(key())
	case "rotate":
		return fsmtest.RotateKey(key(), uint32(number("version", 2)))
	case "rotate-due":
		return fsmtest.RotateDueKey(key(), due(), uint32(number("version", 2)))
	case "erased":
		return command.ReportErasure{NodeID: take("node", fsmtest.NodeID), Through: uint64(number("through", 0))}
	case "used":
		return command.RecordUse{Uses: []command.VersionUse{{KeyID: fsmtest.KeyID(key()), Number: uint32(number("version", 1)), Last: fsmtest.Start + number("at", 0)}}}
	default:
		s.t.Fatalf("no such word: %s", name)
		return nil
	}
}

// life is what a key's line says beyond its state.
func life(root *state.Root, k *state.Key) string {
	var line strings.Builder
	at := func(what string, ms int64) {
		if ms != 0 {
			fmt.Fprintf(&line, " %s=+%d", what, ms-fsmtest.Start)
		}
	}
	at("deletion", k.Deletion)
	if k.Protected {
		line.WriteString(" protected")
	}
	if k.Versions != 1 || k.PrimaryVersion != 1 {
		fmt.Fprintf(&line, " versions=%d primary=%d", k.Versions, k.PrimaryVersion)
	}
	if k.RotationDays != 0 {
		fmt.Fprintf(&line, " every=%dd", k.RotationDays)
	}
	at("due", k.RotationDue)
	if k.Rotations != 0 {
		fmt.Fprintf(&line, " rotations=%d", k.Rotations)
	}
	at("last", k.LastRotation)
	if k.Aliases != 0 {
		fmt.Fprintf(&line, " aliases=%d", k.Aliases)
	}
	for _, v := range root.Versions(k.ID) {
		if u, used := root.Use(k.ID, v.Number); used {
			at(fmt.Sprintf("used-%d", v.Number), u.Last)
		}
	}
	for i, due := range root.Due(root.Now(), 100, nil) {
		if due == k {
			fmt.Fprintf(&line, " (%d. of what is due)", i+1)
		}
	}
	return line.String()
}

func (s *script) aliases() {
	root := s.m.State()
	for _, a := range root.Aliases(fsmtest.ProjectID, "", 1000) {
		key, _ := root.Key(a.KeyID)
		fmt.Fprintf(&s.out, "  %s is %s created=+%d updated=+%d fence=%d\n", a.Name, key.Name, a.Created-fsmtest.Start, a.Updated-fsmtest.Start, a.Fence)
	}
}

func (s *script) stone(name string) {
	root := s.m.State()
	t, ok := root.Tombstone(fsmtest.KeyID(name))
	if !ok {
		s.out.WriteString("  no tombstone\n")
		return
	}
	fmt.Fprintf(&s.out, "  %s deleted=+%d at %d, held by %v, %d blobs, last deletion at %d\n", t.Name, t.Deleted-fsmtest.Start, t.Index, t.Holders, len(t.Blobs), root.LastDeletion())
	for _, id := range t.Holders {
		if e, reported := root.Erasure(id); reported {
			fmt.Fprintf(&s.out, "  %s has erased through %d\n", id, e.Through)
		}
	}
}
