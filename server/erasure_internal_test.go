package server

import (
	"context"
	"crypto/sha256"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/state"
	"github.com/raftkms/raftkms/server/iam"
	"github.com/raftkms/raftkms/server/kms"
	"github.com/raftkms/raftkms/server/wire"
)

// A key that is deleted at its deadline is in no file of the node soon after,
// although nothing more happens there, and the operator can see so.
func TestDeletedKeysAreErased(t *testing.T) {
	s, admin := startFounderOf(t, func(c *Config) {
		c.MinDeletionWait, c.ErasurePause = time.Second, time.Second
	})
	m := s.member.Load()
	call := func(op kms.Operation, do func(ctx context.Context, c *kms.Call) error) {
		t.Helper()
		in := kms.Incoming{Operation: op, RequestID: uuid.NewString(), Project: admin.ProjectID}
		err := m.service.Run(t.Context(), in, func(ctx context.Context, c *kms.Call) error {
			if err := c.Identify(ctx, iam.Principal{UserID: admin.UserID, DomainID: admin.DomainID, AccessKeyID: admin.AccessKey}); err != nil {
				return err
			}
			return do(ctx, c)
		})
		if err != nil {
			t.Fatalf("%s: %v", op.Name, err)
		}
	}
	var key *state.Key
	call(kms.OpCreateKey, func(ctx context.Context, c *kms.Call) (err error) {
		key, err = m.service.CreateKey(ctx, c, kms.CreateKeyRequest{Name: "orders"})
		return err
	})
	call(kms.OpRotateOnDemand, func(ctx context.Context, c *kms.Call) error {
		_, err := m.service.RotateKey(ctx, c, key.ID)
		return err
	})
	var prints []state.BlobPrint
	for _, v := range s.machine.State().Versions(key.ID) {
		prints = append(prints, state.BlobPrint{Size: uint32(len(v.Blob)), Hash: sha256.Sum256(v.Blob)})
	}
	find := func() []string {
		t.Helper()
		files, _, err := findBlobs(t.Context(), prints, s.cfg.DataDir)
		if err != nil {
			t.Fatal(err)
		}
		return files
	}
	if files := find(); len(files) != 1 || len(prints) != 2 {
		t.Fatalf("%d versions stand in %v before: this test tests nothing", len(prints), files)
	}
	if _, err := s.verifyErasure(t.Context(), wire.VerifyErasureRequest{KeyID: key.ID}); err == nil || !strings.Contains(err.Error(), "not deleted") {
		t.Errorf("a key that is there: %v", err)
	}
	call(kms.OpScheduleKeyDeletion, func(ctx context.Context, c *kms.Call) error {
		_, err := m.service.ScheduleDeletion(ctx, c, key.ID, 0)
		return err
	})
	erased := func() {
		t.Helper()
		for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(100 * time.Millisecond) {
			reply, err := s.verifyErasure(t.Context(), wire.VerifyErasureRequest{KeyID: key.ID})
			if err == nil && reply.Erased {
				if len(reply.Nodes) != 1 || reply.Nodes[0].ID != "n1" || reply.Nodes[0].Scanned == 0 || len(reply.RootGenerations) != 1 || reply.Name != "orders" || reply.Blobs != len(prints) {
					t.Errorf("verified: %+v", reply)
				}
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("not erased: %+v, %v", reply, err)
			}
		}
		if files := find(); files != nil {
			t.Errorf("still in %v", files)
		}
	}
	erased()

	// A batch of a root rotation that was on its way comes behind the erasure.
	late := []byte("forty bytes of the key under other roots")
	_, err := m.service.RewrapRecords(t.Context(), command.RewrapRecords{Generation: 1, Parts: []command.Rewrapped{
		{What: state.SealedVersion, ID: key.ID, Number: 1, Old: prints[0].Hash, Bytes: late, MAC: make([]byte, 32)},
	}})
	if err != nil {
		t.Fatal(err)
	}
	prints = append(prints, state.BlobPrint{Size: uint32(len(late)), Hash: sha256.Sum256(late)})
	erased()

	// What a recovery has set aside is not this node's to erase.
	aside := filepath.Join(s.cfg.DataDir, raftDir+lostSuffix+time.Now().UTC().Format(lostTime))
	if err := os.Mkdir(aside, 0o700); err != nil {
		t.Fatal(err)
	}
	if reply, err := s.verifyErasure(t.Context(), wire.VerifyErasureRequest{KeyID: key.ID}); err != nil || reply.Erased || !strings.Contains(reply.Nodes[0].Problem, aside) {
		t.Errorf("with something set aside: %+v, %v", reply, err)
	}
}

// Who was a node then and is none now may have kept its disk.
func TestRemovedHoldersAreNamed(t *testing.T) {
	s := startFounder(t)
	left := &remains{keyID: uuid.NewString(), index: 1, holders: []string{"n1", "n9"}}
	root := s.machine.State()
	if got := left.allHolders(root); len(got) != 2 {
		t.Errorf("holders %v", got)
	}
	if node := s.verifyNode(t.Context(), s.member.Load(), root, left, "n9"); node.Reported || !strings.Contains(node.Problem, "disks") {
		t.Errorf("a removed node: %+v", node)
	}
}
