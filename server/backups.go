package server

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"time"

	"github.com/google/uuid"

	"github.com/raftkms/raftkms/cluster"
	"github.com/raftkms/raftkms/fsm"
	"github.com/raftkms/raftkms/fsm/snapshot"
	"github.com/raftkms/raftkms/fsm/state"
	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/server/audit"
	"github.com/raftkms/raftkms/server/backup"
	"github.com/raftkms/raftkms/server/kms"
	"github.com/raftkms/raftkms/server/wire"
)

// Backups go out and come in over the admin socket, as streams.

// backupTimeout bounds one backup or restore: a million keys take seconds, a
// slow disk behind the operator's file more.
const backupTimeout = time.Hour

func (s *Server) handleBackups(mux *http.ServeMux) {
	stream := func(method, path string, answer func(ctx context.Context, w http.ResponseWriter, r *http.Request) error) {
		mux.HandleFunc(method+" "+path, func(w http.ResponseWriter, r *http.Request) {
			ctx, cancel := context.WithTimeout(r.Context(), backupTimeout)
			defer cancel()
			control := http.NewResponseController(w)
			deadline := time.Now().Add(backupTimeout)
			err := errors.Join(control.SetReadDeadline(deadline), control.SetWriteDeadline(deadline))
			if err == nil {
				err = answer(ctx, w, r)
			}
			if err != nil {
				writeAdmin(w, nil, err)
			}
		})
	}
	stream("GET", wire.AdminPathBackup, s.writeBackup)
	stream("POST", wire.AdminPathCheckBackup, func(ctx context.Context, w http.ResponseWriter, r *http.Request) error {
		_, reply, err := s.readBackup(ctx, r.Body)
		if err == nil {
			writeAdmin(w, reply, nil)
		}
		return err
	})
	stream("POST", wire.AdminPathRestore, s.answerRestore)
}

// writeBackup sends a backup of the state as it is now: everything that was
// acknowledged before the request is in it.
func (s *Server) writeBackup(ctx context.Context, w http.ResponseWriter, _ *http.Request) error {
	m := s.member.Load()
	if m == nil {
		return errNoCluster
	}
	return m.service.Backup(ctx, uuid.NewString(), func(ctx context.Context, root *state.Root) (uint64, error) {
		// Once bytes are on their way an error can only cut them off, and a
		// backup that was cut off does not verify.
		w.Header().Set("Content-Type", "application/octet-stream")
		out := &begun{w: w}
		h, err := backup.Write(ctx, out, s.cfg.Module, root, s.cfg.NodeID, s.cfg.Version)
		if err != nil && out.yes {
			s.cfg.Logger.Error("writing a backup", "error", err)
			panic(http.ErrAbortHandler)
		}
		if err != nil {
			return 0, err
		}
		return h.Index, nil
	})
}

// begun notes whether anything was written.
type begun struct {
	w   io.Writer
	yes bool
}

func (b *begun) Write(p []byte) (int, error) {
	b.yes = true
	return b.w.Write(p)
}

// readBackup reads and verifies all of a backup. A node without a cluster finds
// the roots that the backup names in its module first.
func (s *Server) readBackup(ctx context.Context, r io.Reader) (*state.Root, *wire.BackupReply, error) {
	h, front, err := backup.ReadHeader(r)
	if err != nil {
		return nil, nil, err
	}
	c := s.machine.State().Cluster()
	if c != nil && c.ID != h.ClusterID {
		return nil, nil, fmt.Errorf("this backup is of the cluster %.64q, and this node is of the cluster %s: check it at a node of that cluster, or at one without a cluster whose module holds its root keys", h.ClusterID, c.ID)
	}
	var held hsm.RootGeneration
	switch {
	case c != nil:
		held = hsm.RootGeneration(c.RootGeneration)
	case s.member.Load() != nil:
		return nil, nil, errors.New("this node has not received its cluster's state yet: wait until it is ready, or check the backup at another")
	default:
		id, err := uuid.Parse(h.ClusterID)
		if err != nil {
			return nil, nil, backup.ErrMalformed
		}
		if held, err = s.cfg.Module.OpenRoots(ctx, hsm.ClusterID(id)); err != nil {
			return nil, nil, fmt.Errorf("this backup is of the cluster %s, root generation %d, and this node's module does not hold its root keys: attach the module of an old node, or restore the roots first: %w", h.ClusterID, h.RootGeneration, err)
		}
	}
	// Asked for anything, a module says that it has no such generation.
	if _, err := s.cfg.Module.Under(hsm.RootGeneration(h.RootGeneration)).MAC(ctx, front); errors.Is(err, hsm.ErrNoRoots) {
		return nil, nil, fmt.Errorf("this backup is under the root keys %d, and this node's module holds the root keys %d: use a node with an empty data directory and module, "+
			"restore the custodians' backup of the root keys %[1]d to it (`kmsctl root restore`), and check or restore this backup there: %[3]w", h.RootGeneration, held, err)
	}
	root, err := backup.Read(ctx, r, h, front, s.cfg.Module, s.machine.Highest())
	if err != nil {
		return nil, nil, err
	}
	reply := &wire.BackupReply{
		ClusterID: h.ClusterID, Generation: h.Generation, LineageID: h.LineageID, RootGeneration: h.RootGeneration, Index: h.Index,
		StateHash: h.StateHash, NodeID: h.NodeID, Version: h.Version, Created: h.Created.Format(time.RFC3339),
	}
	if c != nil {
		if reply.Older, err = olderThan(c, root.Cluster(), h.Index); err != nil {
			return nil, nil, err
		}
	}
	for range root.AllKeys() {
		reply.Keys++
	}
	return root, reply, nil
}

// answerRestore founds a cluster again from a backup, or says what that would do.
func (s *Server) answerRestore(ctx context.Context, w http.ResponseWriter, r *http.Request) error {
	s.change.Lock()
	defer s.change.Unlock()
	if s.member.Load() != nil || s.joining.Load() {
		return errors.New("this node has a cluster: a backup is restored to a node with an empty data directory, and the others join it with new tokens")
	}
	query := r.URL.Query()
	root, described, err := s.readBackup(ctx, r.Body)
	if err != nil {
		return err
	}
	var newer *state.Root
	if dir := query.Get(wire.RestoreAgainst); dir != "" {
		if newer, _, err = readState(filepath.Join(dir, raftDir), s.machine.Highest(), nil); err != nil {
			return err
		}
	}
	confirmed := query.Get(wire.RestoreConfirm)
	if confirmed != "" && confirmed != described.ClusterID {
		return fmt.Errorf("the backup is of the cluster %s, not of %s", described.ClusterID, confirmed)
	}
	undone, err := s.refound(ctx, kms.OpRestoreBackup, root, newer, query.Get(wire.RestoreKeepEnabled) == "true", confirmed != "")
	if err != nil {
		return err
	}
	writeAdmin(w, wire.RestoreReply{Backup: *described, Done: confirmed != "", Undone: undone}, nil)
	return nil
}

// readState reads the newest state that the Raft directory of a stopped node
// holds, of a feature level up to highest, and where its log ends. unsure, if
// any, is told of entries that may never have been committed.
func readState(dir string, highest uint32, unsure func(cluster.Entry)) (*state.Root, cluster.Replayed, error) {
	if !filepath.IsAbs(dir) {
		return nil, cluster.Replayed{}, fmt.Errorf("the directory of an old node, %q, must be an absolute path", dir)
	}
	machine := fsm.NewAt(highest)
	found, err := cluster.Replay(dir, stateMachine{machine: machine}, unsure)
	if err != nil {
		return nil, found, fmt.Errorf("reading the state in %s: %w", dir, err)
	}
	return machine.State(), found, nil
}

// refound makes and stores what the first node of the new generation needs,
// and starts it. Without doing it, it says what it would do.
func (s *Server) refound(ctx context.Context, op kms.Operation, old, newer *state.Root, keepEnabled, do bool) (*fsm.Undone, error) {
	c := old.Cluster()
	f := &foundation{identity: identity{
		ClusterID: c.ID, NodeID: s.cfg.NodeID, ModuleKind: s.cfg.Module.Describe().Kind, Canary: hex.EncodeToString(c.Canary),
	}}
	if f.identity.ModuleKind != c.ModuleKind {
		return nil, fmt.Errorf("the cluster of the backup uses %s modules, and this node has a %s module", c.ModuleKind, f.identity.ModuleKind)
	}
	canary, err := f.identity.canary()
	if err != nil {
		return nil, err
	}
	if err := canary.Verify(ctx, s.cfg.Module); err != nil {
		return nil, fmt.Errorf("proving this module's root keys with the backup: %w", err)
	}
	caKey, err := f.makeCredentials(s.cfg)
	if err != nil {
		return nil, err
	}
	defer clear(caKey)
	with := fsm.Foundation{CACertificate: f.credentials.authorities[0], LineageID: randomHex(), KeepEnabled: keepEnabled}
	seal := &sealer{module: s.cfg.Module}
	generation := hsm.RootGeneration(c.RootGeneration)
	if with.SealedCAKey, err = seal.seal(ctx, generation, sealCAKey, c.ID, caKey); err != nil {
		return nil, fmt.Errorf("sealing the CA's key: %w", err)
	}
	if with.SealedGossip, err = seal.seal(ctx, generation, sealGossipKey, c.ID, f.credentials.gossipKey); err != nil {
		return nil, fmt.Errorf("sealing the gossip key: %w", err)
	}
	if with.Node, err = s.nodeInfo(f.credentials.certificate, nil); err != nil {
		return nil, err
	}
	with.Node.TransportKey = make([]byte, sha256.Size)
	rand.Read(with.Node.TransportKey) // the module has its roots: nobody will compare a transport key
	root, undone, err := fsm.Refound(old, newer, with)
	if err != nil || !do {
		return undone, err
	}
	if err := s.beginAnew(); err != nil {
		return nil, err
	}
	if err := cluster.Plant(cluster.Seed{
		DataDir: s.cfg.DataDir, ClusterID: c.ID, NodeID: s.cfg.NodeID, Address: s.cfg.ClusterAdvertise,
		Index: root.Applied(), State: planted{root}, Logger: s.cfg.Logger,
	}); err != nil {
		return nil, err
	}
	if err := f.credentials.save(s.cfg.DataDir); err != nil {
		return nil, err
	}
	f.identity.Replicating = true
	if err := f.identity.save(s.cfg.DataDir); err != nil {
		return nil, err
	}
	if err := s.start(s.running, f.identity, f.credentials); err != nil {
		return nil, err
	}
	s.events.note(op, func(call *kms.Call) {
		call.AboutResource(c.ID, "")
		call.Asked().Number("index", int64(old.Applied()))
		call.Asked().Number("generation", int64(undone.Generation))
		call.Remark(audit.RatingIncident, "the cluster was founded again as a new generation")
	})
	return undone, nil
}

// planted is a state as the cluster stores it.
type planted struct{ root *state.Root }

// WriteTo writes the state as a snapshot.
func (p planted) WriteTo(w io.Writer) (int64, error) { return snapshot.Write(w, p.root) }
