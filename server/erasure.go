package server

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/raftkms/raftkms/fsm/state"
	"github.com/raftkms/raftkms/server/wire"
)

// A deleted key leaves the state at once, and then the files of every node: each
// takes a new snapshot with no log behind it, drops the older ones, writes its
// log file anew, and reports how far it has come. The key is erased when all
// members have reported.

// eraser erases the files of this node.
type eraser struct {
	server *Server
	member *member

	mu   sync.Mutex
	last time.Time // when it was last done
}

// erasureLook is how often a node looks whether there is something to erase.
const erasureLook = 2 * time.Second

// run erases when keys were deleted since this node has last erased, but not
// more often than the configuration says: followers that are behind need the
// whole snapshot after it.
func (e *eraser) run(ctx context.Context, _ int64) error {
	root := e.server.machine.State()
	through := root.LastDeletion()
	if done, ok := root.Erasure(e.server.cfg.NodeID); through == 0 || ok && done.Through >= through {
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.last.IsZero() && time.Since(e.last) < e.server.cfg.ErasurePause {
		return nil
	}
	started := time.Now()
	e.member.service.ForgetDeleted()
	if err := e.member.node.Erase(ctx); err != nil {
		return err
	}
	e.last = time.Now()
	if err := e.member.service.ReportErasure(ctx, through, e.last.Sub(started)); err != nil {
		return fmt.Errorf("reporting it: %w", err)
	}
	e.server.cfg.Logger.Info("this node's files hold nothing of deleted keys any more", "through_index", through, "took", e.last.Sub(started))
	return nil
}

// callVerifyErasure has a member look into its own files.
const callVerifyErasure = "key.verify-erasure"

// verifyTimeout bounds the look into the files of one member.
const verifyTimeout = 50 * time.Second

// answerVerify looks into this node's files for what is left of a deleted key.
func (s *Server) answerVerify(ctx context.Context, m *member, body []byte) ([]byte, error) {
	if err := m.service.Current(ctx); err != nil {
		return nil, err
	}
	stone, ok := s.machine.State().Tombstone(string(body))
	if !ok {
		return nil, refuseRemote("no key of that id was deleted")
	}
	report := wire.ErasureNode{ID: s.cfg.NodeID}
	files, bytes, err := findBlobs(ctx, stone.Blobs, s.cfg.DataDir, s.cfg.AuditDir)
	report.Files, report.Scanned = files, bytes
	if err != nil {
		report.Problem = "not all files could be read: " + err.Error()
	}
	return json.Marshal(report)
}

// verifyErasure has every node that may hold a deleted key look into its files.
func (s *Server) verifyErasure(ctx context.Context, req wire.VerifyErasureRequest) (*wire.VerifyErasureReply, error) {
	m := s.member.Load()
	if m == nil {
		return nil, errNoCluster
	}
	if err := m.service.Current(ctx); err != nil {
		return nil, err
	}
	root := s.machine.State()
	stone, ok := root.Tombstone(req.KeyID)
	if !ok {
		if key, exists := root.Key(req.KeyID); exists {
			return nil, fmt.Errorf("the key is not deleted: it is %s", key.State)
		}
		return nil, fmt.Errorf("no key of the id %q was ever deleted here", req.KeyID)
	}
	reply := &wire.VerifyErasureReply{
		KeyID: stone.KeyID, Name: stone.Name, Created: time.UnixMilli(stone.Created).UTC(), Deleted: time.UnixMilli(stone.Deleted).UTC(), Erased: true,
	}
	generations := make(map[uint32]bool)
	for _, blob := range stone.Blobs {
		if !generations[blob.RootGeneration] {
			generations[blob.RootGeneration] = true
			reply.RootGenerations = append(reply.RootGenerations, blob.RootGeneration)
		}
	}
	holders := holdersOf(root, stone)
	var wg sync.WaitGroup
	reply.Nodes = make([]wire.ErasureNode, len(holders))
	for i, id := range holders {
		wg.Go(func() { reply.Nodes[i] = s.verifyNode(ctx, m, root, stone, id) })
	}
	wg.Wait()
	for _, node := range reply.Nodes {
		reply.Erased = reply.Erased && node.Reported && len(node.Files) == 0 && node.Problem == ""
	}
	return reply, nil
}

// verifyNode asks one node, and says why when it could not be asked.
func (s *Server) verifyNode(ctx context.Context, m *member, root *state.Root, stone *state.Tombstone, id string) wire.ErasureNode {
	node := wire.ErasureNode{ID: id}
	ctx, cancel := context.WithTimeout(ctx, verifyTimeout)
	defer cancel()
	if _, admitted := root.Node(id); !admitted {
		node.Problem = "it is no node of the cluster any more; its disks hold the material until they are erased or destroyed"
	} else if raw, err := m.node.Call(ctx, id, callVerifyErasure, []byte(stone.KeyID)); err != nil {
		node.Problem = "it cannot be asked: " + err.Error()
	} else if err := json.Unmarshal(raw, &node); err != nil {
		node.Problem = "its answer cannot be read: " + err.Error()
	}
	if done, ok := root.Erasure(id); ok && done.Through >= stone.Index {
		node.Reported = true
	} else if node.Problem == "" {
		node.Problem = "it has not erased its files yet"
	}
	return node
}

// holdersOf are the nodes that may hold something of a deleted key: those that
// were there when it was deleted, and those that came since.
func holdersOf(root *state.Root, stone *state.Tombstone) []string {
	holders := stone.Holders
	known := make(map[string]bool, len(holders))
	for _, id := range holders {
		known[id] = true
	}
	holders = append([]string(nil), holders...)
	for _, node := range root.Nodes() {
		if !known[node.ID] {
			holders = append(holders, node.ID)
		}
	}
	return holders
}
