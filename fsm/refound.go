package fsm

import (
	"errors"
	"fmt"
	"slices"

	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/state"
)

// Foundation is what a cluster gets anew when it is founded again from a
// backup: nothing that the old nodes have is of use in it.
type Foundation struct {
	Node          command.NodeInfo // the one node that it begins with
	CACertificate []byte           // DER; the only one that is trusted
	SealedCAKey   []byte
	SealedGossip  []byte
	LineageID     string // drawn at random: 32 lower-case hex digits
	// KeepEnabled leaves keys as the backup has them. Else all are Disabled,
	// until somebody has looked at what the backup does not know of.
	KeepEnabled bool
}

// Undone is what founding a cluster again from a backup takes back or does once
// more: what an operator must know before, and be told after.
type Undone struct {
	Index      uint64   `json:"index"`      // log index that the new cluster begins at
	Generation uint32   `json:"generation"` // of the new cluster
	Keys       int      `json:"keys"`       // in the new cluster
	Removed    []string `json:"removed_nodes,omitempty"`
	// What the newer state knows and the backup does not; empty without one.
	LostKeys       []string `json:"lost_keys,omitempty"`            // made after the backup: their ciphertexts cannot be opened any more
	LostVersions   []string `json:"lost_versions,omitempty"`        // keys with versions made after the backup: likewise for those
	DeletedKeys    []string `json:"deleted_keys,omitempty"`         // deleted after the backup, and now again
	DisabledKeys   []string `json:"disabled_keys,omitempty"`        // Enabled in the backup, Disabled now
	DisabledUsers  []string `json:"disabled_users,omitempty"`       // disabled or deleted after the backup
	DisabledAccess []string `json:"disabled_access_keys,omitempty"` // likewise
	// Accounts and projects that were disabled or deleted since; who may do what is
	// as in the newer state, which changes it for these.
	DisabledAccounts []string `json:"disabled_accounts,omitempty"`
	DisabledProjects []string `json:"disabled_projects,omitempty"`
	ChangedUsers     []string `json:"changed_users,omitempty"` // groups, policies, password or second factor
	DeletedGroups    []string `json:"deleted_groups,omitempty"`
	DeletedPolicies  []string `json:"deleted_policies,omitempty"`
	ChangedPolicies  []string `json:"changed_policies,omitempty"`
	ChangedProviders []string `json:"changed_providers,omitempty"`     // client CAs and OIDC issuers
	PendingDeletion  []string `json:"pending_deletion_keys,omitempty"` // scheduled after the backup, Disabled now
	EndedGrants      []string `json:"ended_grants,omitempty"`          // revoked or retired after the backup, and now again
	ErasedMaterial   []string `json:"erased_material,omitempty"`       // keys whose imported material was deleted or expired after the backup, and now again
	// Keys for which an import was under way at the backup: its token is of no
	// use any more, new parameters have to be asked for.
	EndedImports []string `json:"ended_imports,omitempty"`
}

// ErrNoCluster is returned for a backup in which no cluster was founded yet.
var ErrNoCluster = errors.New("the state holds no cluster")

// Refound makes the state of a new generation of a cluster from a backup. newer
// may be a later state of the same cluster, of which every deletion, of keys and
// of imported material, every disable and every revocation is done again, and which says who may do what; nil when there is none. An earlier one is
// refused: what it does not know yet would count as taken away since. So is one that did not come from the backup's. The result begins after both.
func Refound(backup, newer *state.Root, with Foundation) (*state.Root, *Undone, error) {
	old := backup.Cluster()
	if old == nil {
		return nil, nil, ErrNoCluster
	}
	if newer != nil {
		if err := wentOn(backup, newer); err != nil {
			return nil, nil, err
		}
	}
	if !isHex(with.LineageID, 32) {
		return nil, nil, errors.New("the lineage id is not 32 digits of lower-case hex")
	}
	if refusal := checkNode(with.Node); refusal != nil {
		return nil, nil, refusal
	}
	r := refounding{Txn: backup.Txn(), backup: backup, newer: newer, with: with, undone: new(Undone)}
	r.index = backup.Applied()
	r.undone.Generation = old.Generation + 1
	if newer != nil {
		r.index = max(r.index, newer.Applied())
		r.undone.Generation = max(r.undone.Generation, newer.Cluster().Generation+1)
	}
	r.index++
	r.undone.Index = r.index

	r.beginAgain(*old)
	r.revoke()
	r.takeRights()
	r.endTokens()
	for key := range backup.AllKeys() {
		r.settle(r.endImports(r.endGrants(key)))
	}
	if newer != nil {
		for key := range newer.AllKeys() {
			if _, known := backup.Key(key.ID); !known {
				r.undone.LostKeys = append(r.undone.LostKeys, key.ID)
			}
		}
	}
	r.SetApplied(r.index)
	return r.Commit(), r.undone, nil
}

// wentOn says why a state is no later one of the cluster of a backup. Numbers do
// not prove that it is: two that were founded from one backup have the same
// generation. Everything in a log counts as committed here, as in a recovery.
func wentOn(backup, newer *state.Root) error {
	old, now := backup.Cluster(), newer.Cluster()
	if now == nil || now.ID != old.ID {
		return fmt.Errorf("the state to compare with is not of the cluster %s", old.ID)
	}
	since, ok := now.FoundedSince(old)
	if now.Generation < old.Generation || ok && newer.Applied() < backup.Applied() {
		return fmt.Errorf("the state to compare with (generation %d, index %d) is older than the backup (generation %d, index %d) and knows of nothing that happened since: name the directory of a node that went on longest",
			now.Generation, newer.Applied(), old.Generation, backup.Applied())
	}
	if !ok {
		return fmt.Errorf("the state to compare with is of a generation %d (lineage %q) that was not founded from the one of the backup (generation %d, lineage %q): what was done there says nothing of what was done here; "+
			"name the directory of a node that went on from the backup, or restore without one", now.Generation, now.LineageID(), old.Generation, old.LineageID())
	}
	if len(since) > 0 && since[0].From < backup.Applied() {
		return fmt.Errorf("the state to compare with is of a generation that was founded from index %d, before the backup (generation %d, index %d), and lacks what was done in between: "+
			"name the directory of a node that went on from the backup, or restore without one", since[0].From, old.Generation, backup.Applied())
	}
	return nil
}

// refounding is one run of Refound.
type refounding struct {
	*state.Txn
	backup, newer *state.Root
	with          Foundation
	undone        *Undone
	index         uint64
}

// beginAgain replaces whatever the old nodes know one another by.
func (r *refounding) beginAgain(cluster state.Cluster) {
	cluster.Generation = r.undone.Generation
	cluster.Lineage = append(slices.Clip(cluster.Lineage), state.Founding{ID: r.with.LineageID, Generation: cluster.Generation, From: r.backup.Applied()})
	cluster.CACertificates, cluster.SealedCAKey, cluster.SealedGossip = [][]byte{r.with.CACertificate}, r.with.SealedCAKey, r.with.SealedGossip
	cluster.SealedGossipOther, cluster.GossipStaged, cluster.SealedCAKeyNext = nil, false, nil
	cluster.RootNext, cluster.RootNextCanary = 0, nil // nothing is under these roots, and who holds them is not known
	cluster.Fence = r.index
	if r.newer != nil {
		clock := state.Clock{Now: max(r.Now(), r.newer.Now()), Horizon: max(r.Horizon(), r.newer.Horizon())}
		r.PutClock(&clock)
		cluster.FeatureLevel = max(cluster.FeatureLevel, r.newer.Cluster().FeatureLevel) // of what is taken from it
	}
	r.PutCluster(&cluster)
	for _, node := range r.backup.Nodes() {
		r.DeleteNode(node)
		if node.ID != r.with.Node.ID {
			r.undone.Removed = append(r.undone.Removed, node.ID)
		}
	}
	node := newNode(r.with.Node, r.Now())
	node.RootsApproved, node.Standby, node.Fence = cluster.RootGeneration, false, r.index
	r.PutNode(node)
	for _, token := range r.backup.JoinTokens() {
		r.DeleteJoinToken(token)
	}
	// No answer of the old cluster may be given to a repeat in the new one.
	for {
		reply, ok := r.OldestReply()
		if !ok {
			break
		}
		r.DeleteReply(reply)
	}
	r.PutClock(&state.Clock{Now: r.Now(), Horizon: r.Now()})
}

// revoke disables the users and access keys that the newer state does not
// allow any more.
func (r *refounding) revoke() {
	if r.newer == nil {
		return
	}
	for user := range r.backup.AllUsers() {
		if now, there := r.newer.User(user.ID); user.Enabled && (!there || !now.Enabled) {
			disabled := *user
			disabled.Enabled, disabled.Fence = false, r.index
			r.PutUser(&disabled)
			r.undone.DisabledUsers = append(r.undone.DisabledUsers, user.ID)
		}
	}
	for access := range r.backup.AllAccessKeys() {
		if now, there := r.newer.AccessKey(access.ID); access.Enabled && (!there || !now.Enabled) {
			disabled := *access
			disabled.Enabled, disabled.Fence = false, r.index
			r.PutAccessKey(&disabled)
			r.undone.DisabledAccess = append(r.undone.DisabledAccess, access.ID)
		}
	}
}

// endGrants ends the grants on a key that the newer state does not have any
// more, and returns the key without them.
func (r *refounding) endGrants(key *state.Key) *state.Key {
	if r.newer == nil || key.Grants == 0 {
		return key
	}
	left := *key
	for _, grant := range r.backup.GrantsOn(key.ID, 0, int(key.Grants)) {
		if _, there := r.newer.Grant(grant.ID); !there {
			r.DeleteGrant(grant)
			left.Grants, left.Fence = left.Grants-1, r.index
			r.undone.EndedGrants = append(r.undone.EndedGrants, grant.ID)
		}
	}
	if left.Grants == key.Grants {
		return key
	}
	r.PutKey(&left)
	return &left
}

// settle gives a key of the backup its place in the new cluster.
func (r *refounding) settle(key *state.Key) {
	var now *state.Key
	if r.newer != nil {
		if stone, deleted := r.newer.Tombstone(key.ID); deleted {
			r.DeleteKey(key)
			again := *stone
			again.Index, again.Fence = r.index, r.index // every copy is to be erased once more
			again.Holders = []string{r.with.Node.ID}
			r.PutTombstone(&again)
			r.undone.DeletedKeys = append(r.undone.DeletedKeys, key.ID)
			return
		}
		now, _ = r.newer.Key(key.ID)
	}
	r.undone.Keys++
	if now != nil && now.Versions > key.Versions {
		r.undone.LostVersions = append(r.undone.LostVersions, key.ID)
	}
	if key.State != state.Enabled {
		return
	}
	switch {
	case now != nil && now.State == state.PendingDeletion:
		r.undone.PendingDeletion = append(r.undone.PendingDeletion, key.ID)
	case r.with.KeepEnabled && (r.newer == nil || now != nil && now.State == state.Enabled):
		return
	}
	disabled := *key
	disabled.State, disabled.Fence = state.Disabled, r.index
	r.PutKey(&disabled)
	r.undone.DisabledKeys = append(r.undone.DisabledKeys, key.ID)
}
