package server

import (
	"context"
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/raftkms/raftkms/fsm/state"
	"github.com/raftkms/raftkms/server/wire"
)

// remains is what is known of wrapped material that has left the state.
type remains struct {
	keyID, name string
	created     int64
	gone        int64 // when the last of it went
	live        bool  // the key is there
	index       uint64
	holders     []string
	blobs       []state.BlobPrint
}

// remainsOf returns what is to be erased of a deleted key, or what was discarded
// of one that is there.
func remainsOf(root *state.Root, keyID string) (*remains, error) {
	if stone, ok := root.Tombstone(keyID); ok {
		return &remains{
			keyID: stone.KeyID, name: stone.Name, created: stone.Created, gone: stone.Deleted,
			index: stone.Index, holders: stone.Holders, blobs: stone.Blobs,
		}, nil
	}
	key, ok := root.Key(keyID)
	if !ok {
		return nil, refuseRemote("no key of the id %q was ever deleted here", keyID)
	}
	discards := root.Discards(keyID)
	if len(discards) == 0 {
		return nil, refuseRemote("the key is not deleted: it is %s, and no material of it was discarded", key.State)
	}
	r := &remains{keyID: key.ID, name: key.Name, created: key.Created, live: true}
	for _, d := range discards {
		r.gone, r.index = d.At, d.Index
		r.holders = append(r.holders, d.Holders...)
		for _, blob := range d.Blobs {
			if !isHeld(root, keyID, blob) {
				r.blobs = append(r.blobs, blob)
			}
		}
	}
	slices.Sort(r.holders)
	r.holders = slices.Compact(r.holders)
	return r, nil
}

// isHeld tells whether discarded material is the key's again: the same material,
// wrapped by the same root, is the same blob.
func isHeld(root *state.Root, keyID string, blob state.BlobPrint) bool {
	return slices.ContainsFunc(root.Versions(keyID), func(v *state.Version) bool { return blob.Is(v.Blob) })
}

// callVerifyErasure has a member look into its own files.
const callVerifyErasure = "key.verify-erasure"

// verifyTimeout bounds the look into the files of one member.
const verifyTimeout = 50 * time.Second

// answerVerify looks into this node's files for what must not be left of a key.
func (s *Server) answerVerify(ctx context.Context, m *member, body []byte) ([]byte, error) {
	if err := m.service.Current(ctx); err != nil {
		return nil, err
	}
	left, err := remainsOf(s.machine.State(), string(body))
	if err != nil {
		return nil, err
	}
	report := wire.ErasureNode{ID: s.cfg.NodeID}
	files, bytes, err := findBlobs(ctx, left.blobs, s.cfg.DataDir, s.cfg.AuditDir)
	report.Files, report.Scanned = files, bytes
	if err != nil {
		report.Problem = "not all files could be read: " + err.Error()
	} else if kept, err := mayHold(s.cfg.DataDir, left); err != nil {
		report.Problem = "what a recovery may have set aside cannot be looked at: " + err.Error()
	} else if len(kept) > 0 {
		report.Problem = "a recovery has set aside " + strings.Join(kept, ", ") + ", which may hold the material under older root keys; remove it when the cluster has what it should"
	}
	return json.Marshal(report)
}

// clockSlack is what the clock of who decided on a recovery may differ by from
// the cluster's time.
const clockSlack = 24 * time.Hour

// mayHold returns the directories that recoveries have set aside since a key was
// made. Its material may lie there in another wrapping than those looked for:
// under roots that it was under before it was put under others.
func mayHold(dataDir string, left *remains) (kept []string, err error) {
	paths, err := lostDirectories(dataDir)
	for _, path := range paths {
		_, when, _ := strings.Cut(filepath.Base(path), lostSuffix)
		if at, err := time.Parse(lostTime, when); err != nil || at.Add(clockSlack).After(time.UnixMilli(left.created)) {
			kept = append(kept, path)
		}
	}
	return kept, err
}

// verifyErasure has every node that may hold something of a key look into its files.
func (s *Server) verifyErasure(ctx context.Context, req wire.VerifyErasureRequest) (*wire.VerifyErasureReply, error) {
	m := s.member.Load()
	if m == nil {
		return nil, errNoCluster
	}
	if err := m.service.Current(ctx); err != nil {
		return nil, err
	}
	root := s.machine.State()
	left, err := remainsOf(root, req.KeyID)
	if err != nil {
		return nil, err
	}
	reply := &wire.VerifyErasureReply{
		KeyID: left.keyID, Name: left.name, Created: time.UnixMilli(left.created).UTC(), Deleted: time.UnixMilli(left.gone).UTC(),
		Live: left.live, Blobs: len(left.blobs), Erased: true, RootGenerations: []uint32{},
	}
	for _, blob := range left.blobs {
		reply.RootGenerations = append(reply.RootGenerations, blob.RootGenerations()...)
	}
	slices.Sort(reply.RootGenerations)
	reply.RootGenerations = slices.Compact(reply.RootGenerations)
	holders := left.allHolders(root)
	var wg sync.WaitGroup
	reply.Nodes = make([]wire.ErasureNode, len(holders))
	for i, id := range holders {
		wg.Go(func() { reply.Nodes[i] = s.verifyNode(ctx, m, root, left, id) })
	}
	wg.Wait()
	for _, node := range reply.Nodes {
		reply.Erased = reply.Erased && node.Reported && len(node.Files) == 0 && node.Problem == ""
	}
	return reply, nil
}

// verifyNode asks one node, and says why when it could not be asked.
func (s *Server) verifyNode(ctx context.Context, m *member, root *state.Root, left *remains, id string) wire.ErasureNode {
	node := wire.ErasureNode{ID: id}
	ctx, cancel := context.WithTimeout(ctx, verifyTimeout)
	defer cancel()
	if _, admitted := root.Node(id); !admitted {
		node.Problem = "it is no node of the cluster any more; its disks hold the material until they are erased or destroyed"
	} else if raw, err := m.node.Call(ctx, id, callVerifyErasure, []byte(left.keyID)); err != nil {
		node.Problem = "it cannot be asked: " + err.Error()
	} else if err := json.Unmarshal(raw, &node); err != nil {
		node.Problem = "its answer cannot be read: " + err.Error()
	}
	if done, ok := root.Erasure(id); ok && done.Through >= left.index {
		node.Reported = true
	} else if node.Problem == "" {
		node.Problem = "it has not erased its files yet"
	}
	return node
}

// allHolders are the nodes that may hold something: those that were there when
// it went, and those that came since.
func (r *remains) allHolders(root *state.Root) []string {
	all := slices.Clone(r.holders)
	for _, node := range root.Nodes() {
		if !slices.Contains(r.holders, node.ID) {
			all = append(all, node.ID)
		}
	}
	return all
}
