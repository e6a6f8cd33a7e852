package fsm_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/raftkms/raftkms/fsm"
	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/fsmtest"
	"github.com/raftkms/raftkms/fsm/state"
)

// script runs the words of a test script against one machine. Command lines of
// one block are applied as one batch, unless a word in between looks at the state.
//
//	bootstrap | create-key | enable-key | disable-key    name=NAME, and for create-key id= of another name, spec= usage= origin= level= root= description=N bytes
//	create-join-token                                    token=NAME expires=+MS
//	admit-node                                           token=NAME node=NAME tls=NAME transport=NAME address=HOST:PORT module=KIND
//	approve-roots                                        node=NAME transport=NAME root=N
//	schedule-deletion | cancel-deletion | delete-due     name=NAME after=MS, and for delete-due due=+MS
//	rename | describe | protect | unprotect              name=NAME to=NAME text=TEXT
//	create-alias | delete-aliases | associate-alias      name=NAME alias=NAME[,NAME]
//	enable-rotation | set-rotation | disable-rotation    name=NAME days=N
//	rotate | rotate-due                                  name=NAME version=N, and for rotate-due due=+MS
//	erased                                               node=NAME through=N
//	used                                                 name=NAME version=N at=+MS
//	mark                                                 an entry without a command
//
// Every command takes wait=MS (the leader's clock goes on before it), as=user|operator|node,
// ak= user= project= (of the caller), in= (the project of the body), proposal=ID ask=TEXT first=MS (relative to now), level=N.
//
//	show      the cluster and its first account, and how many replies are kept
//	nodes     the nodes
//	keys      the list of the project's keys, newest first, and what is due
//	aliases   the aliases of the project
//	stone     what stays of a deleted key: name=NAME
//	restart   writes a snapshot and goes on with a new machine made from it
type script struct {
	t       *testing.T
	m       *fsmtest.Machine
	pending []fsm.Entry
	names   []string // of the pending commands
	out     strings.Builder
}

func (s *script) add(line string) {
	words := strings.Fields(line)
	args := map[string]string{}
	for _, word := range words[1:] {
		key, value, ok := strings.Cut(word, "=")
		if !ok {
			s.t.Fatalf("not key=value: %q", word)
		}
		args[key] = value
	}
	switch words[0] {
	case "show":
		s.apply()
		s.show()
	case "nodes":
		s.apply()
		s.nodes()
	case "keys":
		s.apply()
		s.keys()
	case "aliases":
		s.apply()
		s.aliases()
	case "stone":
		s.apply()
		s.stone(args["name"])
		delete(args, "name")
	case "restart":
		s.apply()
		s.restart()
	case "mark":
		entry := s.m.Entry(s.m.Command(fsmtest.EnableKey("any")))
		entry.Data = nil
		s.push(entry, "mark")
	default:
		s.push(s.m.Entry(s.command(words[0], args)), words[0])
	}
	if len(args) > 0 {
		s.t.Fatalf("words nobody knows in %q: %v", line, args)
	}
}

func (s *script) push(e fsm.Entry, name string) {
	s.pending = append(s.pending, e)
	s.names = append(s.names, name)
}

// apply applies what is pending and writes the answers.
func (s *script) apply() {
	if len(s.pending) == 0 {
		return
	}
	results, err := s.m.Machine.Apply(s.pending)
	if err != nil {
		fmt.Fprintf(&s.out, "stop: %v\n", err)
	}
	for i, r := range results {
		fmt.Fprintf(&s.out, "%d %s: %s\n", s.pending[i].Index, s.names[i], describe(s.t, s.names[i], r))
	}
	s.pending, s.names = nil, nil
}

// flush applies what is pending and returns all answers since the last time.
func (s *script) flush() string {
	s.apply()
	hash := s.m.State().Hash()
	fmt.Fprintf(&s.out, "applied=%d now=+%d hash=%s\n", s.m.State().Applied(), max(s.m.State().Now()-fsmtest.Start, 0), hex.EncodeToString(hash[:8]))
	defer s.out.Reset()
	return s.out.String()
}

func describe(t *testing.T, name string, r fsm.Result) string {
	if r.Refusal != nil {
		return fmt.Sprintf("%s (%s)", r.Refusal.Code, r.Refusal.Message)
	}
	switch name {
	case "create-alias", "associate-alias":
		a, err := r.Alias()
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("ok at %d: alias %s is key %s…", r.Index, a.Name, a.KeyID[:8])
	case "create-key", "enable-key", "disable-key", "schedule-deletion", "cancel-deletion", "delete-due", "rename", "describe", "protect", "unprotect",
		"delete-aliases", "enable-rotation", "set-rotation", "disable-rotation", "rotate", "rotate-due":
		k, err := r.Key()
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("ok at %d: key %s… %s is %v", r.Index, k.KeyID[:8], k.Name, k.State)
	case "bootstrap", "admit-node", "approve-roots":
		n, err := r.Node()
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("ok at %d: node %s, roots approved: %d", r.Index, n.NodeID, n.RootsApproved)
	case "create-join-token":
		token, err := r.Token()
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("ok at %d: expires at +%d", r.Index, token.Expires-fsmtest.Start)
	default:
		return fmt.Sprintf("ok at %d", r.Index)
	}
}

// command builds the command that a line asks for, taking from args what it used.
func (s *script) command(name string, args map[string]string) command.Command {
	take := func(key, otherwise string) string {
		value, ok := args[key]
		if !ok {
			return otherwise
		}
		delete(args, key)
		return value
	}
	number := func(key string, otherwise int64) int64 {
		n, err := strconv.ParseInt(take(key, strconv.FormatInt(otherwise, 10)), 10, 64)
		if err != nil {
			s.t.Fatal(err)
		}
		return n
	}
	s.m.Now += number("wait", 0)
	cmd := s.m.Command(s.body(name, take, number))
	cmd.Proposal.ID = take("proposal", cmd.Proposal.ID)
	if ask := take("ask", ""); ask != "" {
		cmd.Proposal.Hash = [32]byte(fsmtest.Fingerprint(ask))
	}
	cmd.Proposal.First += number("first", 0)
	cmd.Level = uint32(number("level", 1))
	switch take("as", "") {
	case "user":
		cmd.Caller = fsmtest.Caller()
	case "operator":
		cmd.Caller = fsmtest.CallerFor(command.TypeApproveRoots)
	case "node":
		cmd.Caller = fsmtest.CallerFor(command.TypeAdmitNode)
	}
	cmd.Caller.CredentialID = take("ak", cmd.Caller.CredentialID)
	cmd.Caller.UserID = take("user", cmd.Caller.UserID)
	cmd.Caller.ProjectID = take("project", cmd.Caller.ProjectID)
	return cmd
}

func (s *script) body(name string, take func(string, string) string, number func(string, int64) int64) command.Body {
	switch name {
	case "bootstrap":
		b := fsmtest.Bootstrap()
		b.Node.ModuleKind = take("module", b.ModuleKind)
		return b
	case "create-key":
		b := fsmtest.CreateKey(take("name", ""))
		id := take("id", b.Name)
		if b.Origin = take("origin", b.Origin); b.Origin == state.OriginExternal {
			b = fsmtest.CreateExternalKey(b.Name)
		}
		b.Spec, b.Usage = take("spec", b.Spec), take("usage", b.Usage)
		b.Level = uint8(number("protection", int64(b.Level)))
		b.RootGeneration = uint32(number("root", int64(b.RootGeneration)))
		b.Description = strings.Repeat("d", int(number("description", 0)))
		b.ProjectID, b.KeyID = take("in", b.ProjectID), fsmtest.KeyID(id)
		return b
	case "enable-key":
		b := fsmtest.EnableKey(take("name", ""))
		b.ProjectID = take("in", b.ProjectID)
		return b
	case "disable-key":
		b := fsmtest.DisableKey(take("name", ""))
		b.ProjectID = take("in", b.ProjectID)
		return b
	case "create-join-token":
		return command.CreateJoinToken{ID: fsmtest.TokenID(take("token", "")), Expires: s.m.Now + number("expires", 3600_000)}
	case "admit-node":
		b := fsmtest.AdmitNode(take("token", ""), take("node", ""))
		b.Node.TLSKey = fsmtest.Fingerprint("tls " + take("tls", b.Node.ID))
		b.Node.TransportKey = fsmtest.Fingerprint("transport " + take("transport", b.Node.ID))
		b.Node.ClusterAddress = take("address", b.Node.ClusterAddress)
		b.Node.ModuleKind = take("module", b.Node.ModuleKind)
		return b
	case "remove-node":
		return command.RemoveNode{NodeID: take("node", "")}
	case "set-standby", "set-voter":
		return command.SetStandby{NodeID: take("node", ""), Standby: name == "set-standby"}
	case "stage-gossip-key":
		return command.RotateGossipKey{Step: command.GossipStage, Sealed: []byte(take("sealed", ""))}
	case "use-gossip-key", "drop-gossip-key", "other-gossip-step":
		steps := map[string]command.GossipStep{"use-gossip-key": command.GossipUse, "drop-gossip-key": command.GossipDrop, "other-gossip-step": 4}
		return command.RotateGossipKey{Step: steps[name], Sealed: []byte(take("sealed", ""))}
	case "stage-ca":
		return command.RotateCA{Step: command.CAStage, Certificate: []byte(take("ca", "")), Sealed: []byte(take("sealed", ""))}
	case "use-ca", "drop-ca", "abort-ca", "other-ca-step":
		steps := map[string]command.CAStep{"use-ca": command.CAUse, "drop-ca": command.CADrop, "abort-ca": command.CAAbort, "other-ca-step": 9}
		return command.RotateCA{Step: steps[name], Certificate: []byte(take("ca", ""))}
	case "report-cas":
		return fsmtest.ReportCAs(take("node", ""), take("issuer", ""), strings.FieldsFunc(take("trusts", ""), func(r rune) bool { return r == '+' })...)
	case "approve-roots":
		b := fsmtest.ApproveRoots(take("node", ""))
		b.TransportKey = fsmtest.Fingerprint("transport " + take("transport", b.NodeID))
		b.RootGeneration = uint32(number("root", 1))
		return b
	default:
		return s.lifeBody(name, take, number)
	}
}

func (s *script) keys() {
	root := s.m.State()
	fmt.Fprintf(&s.out, "%d keys, newest first:\n", root.KeyCount(fsmtest.ProjectID))
	for _, k := range root.Keys(fsmtest.ProjectID, 0, 1000, nil) {
		fmt.Fprintf(&s.out, "  #%d %s %v created=+%d fence=%d%s\n", k.Sequence, k.Name, k.State, k.Created-fsmtest.Start, k.Fence, life(root, k))
	}
}

func (s *script) show() {
	root := s.m.State()
	c := root.Cluster()
	if c == nil {
		s.out.WriteString("  nothing\n")
		return
	}
	fmt.Fprintf(&s.out, "  cluster %s level=%d generation=%d region=%s module=%s roots=%d created=+%d fence=%d\n",
		c.ID, c.FeatureLevel, c.Generation, c.Region, c.ModuleKind, c.RootGeneration, c.Created-fsmtest.Start, c.Fence)
	if len(c.SealedGossipOther) > 0 {
		fmt.Fprintf(&s.out, "  gossip key %q, also %q, which comes: %v\n", c.SealedGossip, c.SealedGossipOther, c.GossipStaged)
	} else if string(c.SealedGossip) != string(fsmtest.Bootstrap().SealedGossip) {
		fmt.Fprintf(&s.out, "  gossip key %q\n", c.SealedGossip)
	}
	if first := string(c.CACertificates[0]); len(c.CACertificates) > 1 || first != string(fsmtest.Bootstrap().CACertificate) {
		fmt.Fprintf(&s.out, "  CAs %q, key %q, next %q\n", c.CACertificates, c.SealedCAKey, c.SealedCAKeyNext)
	}
	if p, ok := root.ProjectByName(fsmtest.DomainID, fsmtest.Region); ok {
		fmt.Fprintf(&s.out, "  project %s… %s quota=%d enabled=%v\n", p.ID[:4], p.Name, p.KeyQuota, p.Enabled)
	}
	if u, ok := root.UserByName(fsmtest.DomainID, fsmtest.UserName); ok {
		fmt.Fprintf(&s.out, "  user %s… %s roles=%q enabled=%v\n", u.ID[:4], u.Name, u.Roles, u.Enabled)
	}
	if a, ok := root.AccessKey(fsmtest.AccessKeyID); ok {
		fmt.Fprintf(&s.out, "  access key %s of %s… enabled=%v\n", a.ID, a.UserID[:4], a.Enabled)
	}
	fmt.Fprintf(&s.out, "  replies kept: %d, horizon: now%+d\n", root.ReplyCount(), root.Horizon()-root.Now())
}

func (s *script) nodes() {
	for _, n := range s.m.State().Nodes() {
		standby := ""
		if n.Standby {
			standby = " standby"
		}
		fmt.Fprintf(&s.out, "  node %s tls=%x… transport=%x… at=%s roots=%d created=+%d fence=%d%s\n",
			n.ID, n.TLSKey[:3], n.TransportKey[:3], n.ClusterAddress, n.RootsApproved, n.Created-fsmtest.Start, n.Fence, standby)
	}
}

func (s *script) restart() {
	var file bytes.Buffer
	before := s.m.State()
	if _, err := s.m.Snapshot().WriteTo(&file); err != nil {
		s.t.Fatal(err)
	}
	s.m.Machine = fsm.New()
	if err := s.m.Restore(&file); err != nil {
		s.t.Fatal(err)
	}
	same := s.m.State().Hash() == before.Hash() && s.m.State().Applied() == before.Applied()
	fmt.Fprintf(&s.out, "restarted from a snapshot: same state: %v\n", same)
}
