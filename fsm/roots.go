package fsm

import (
	"crypto/sha256"

	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/state"
)

// tokenLife is how long a token counts at most, in milliseconds.
const tokenLife = 24 * 60 * 60 * 1000

// RewrapResult says what a command that puts things under other roots has done.
type RewrapResult struct {
	Done  uint32 `cbor:"1,keyasint"`
	Stale uint32 `cbor:"2,keyasint"` // they were changed meanwhile, or are gone
}

// rotateRoots takes one step of a rotation of the root keys. A step that was
// taken already is refused.
func rotateRoots(c *call, b command.RotateRoots) (any, *Refusal) {
	cluster := *c.Cluster()
	var refusal *Refusal
	switch b.Step {
	case command.RootStage:
		refusal = stageRoots(&cluster, b)
	case command.RootUse:
		refusal = useRoots(c, &cluster, b)
	case command.RootRetire:
		refusal = retireRoots(c, &cluster, b)
	case command.RootAbort:
		refusal = abortRoots(c, &cluster, b)
	default:
		refusal = refuse(CodeInvalid, "there is no such step")
	}
	if refusal != nil {
		return nil, refusal
	}
	cluster.Fence = c.index
	c.PutCluster(&cluster)
	return struct{}{}, nil
}

func stageRoots(cluster *state.Cluster, b command.RotateRoots) *Refusal {
	switch {
	case !isBlob(b.Canary):
		return refuse(CodeInvalid, "new root keys come with their canary")
	case cluster.RootNext != 0 || cluster.RootOld != 0:
		return refuse(CodeStale, "the root keys are being rotated")
	case b.Generation != cluster.RootGeneration+1:
		return refuse(CodeInvalid, "the root generation after %d is not %d", cluster.RootGeneration, b.Generation)
	}
	cluster.RootNext, cluster.RootNextCanary = b.Generation, b.Canary
	return nil
}

func useRoots(c *call, cluster *state.Cluster, b command.RotateRoots) *Refusal {
	if cluster.RootNext == 0 || b.Generation != cluster.RootNext {
		return refuse(CodeStale, "the rotation of the root keys is not at that step")
	}
	for _, node := range c.Nodes() {
		if node.RootsApproved == cluster.RootGeneration && node.RootsHeld != cluster.RootNext {
			return refuse(CodeStale, "node %s does not hold root generation %d yet: start it, or remove it from the cluster", node.ID, cluster.RootNext)
		}
	}
	for _, old := range c.Nodes() {
		if old.RootsApproved == cluster.RootGeneration {
			node := *old
			node.RootsApproved = cluster.RootNext
			c.PutNode(&node)
		}
	}
	cluster.RootOld, cluster.RootOldCanary = cluster.RootGeneration, cluster.Canary
	cluster.RootGeneration, cluster.Canary = cluster.RootNext, cluster.RootNextCanary
	cluster.RootNext, cluster.RootNextCanary = 0, nil
	cluster.RootUsed = c.Now()
	return nil
}

func retireRoots(c *call, cluster *state.Cluster, b command.RotateRoots) *Refusal {
	if cluster.RootOld == 0 || b.Generation != cluster.RootOld {
		return refuse(CodeStale, "there are no old root keys of generation %d", b.Generation)
	}
	if !b.EndTokens && c.Now() < cluster.RootUsed+tokenLife {
		return refuse(CodeStale, "tokens of users may still be under root generation %d, for another %d minutes", b.Generation, (cluster.RootUsed+tokenLife-c.Now()+59_999)/60_000)
	}
	all, imports := c.SealedUnder(b.Generation)
	switch {
	case all > imports:
		return refuse(CodeStale, "%d things are still under root generation %d", all-imports, b.Generation)
	case imports > 0:
		return refuse(CodeStale, "%d imports that were begun under root generation %d have not ended; they do within a day", imports, b.Generation)
	}
	cluster.RootOld, cluster.RootOldCanary = 0, nil
	return nil
}

// abortRoots gives up a generation that nothing uses. Its number serves again, so
// nobody may count as holding it.
func abortRoots(c *call, cluster *state.Cluster, b command.RotateRoots) *Refusal {
	if cluster.RootNext == 0 || b.Generation != cluster.RootNext {
		return refuse(CodeStale, "root generation %d is not staged: there is nothing to give up", b.Generation)
	}
	for _, old := range c.Nodes() {
		if old.RootsHeld == cluster.RootNext {
			node := *old
			node.RootsHeld = cluster.RootGeneration
			c.PutNode(&node)
		}
	}
	cluster.RootNext, cluster.RootNextCanary = 0, nil
	return nil
}

// reportRoots notes that a node is ready for a generation.
func reportRoots(c *call, b command.ReportRoots) (any, *Refusal) {
	old, known := c.Node(b.NodeID)
	switch cluster := c.Cluster(); {
	case !known:
		return nil, refuse(CodeNotFound, "there is no such node")
	case b.Generation != cluster.RootNext && b.Generation != cluster.RootGeneration:
		return nil, refuse(CodeStale, "the cluster uses root generation %d", cluster.RootGeneration)
	case b.Generation == cluster.RootNext && b.Canary != sha256.Sum256(cluster.RootNextCanary):
		return nil, refuse(CodeStale, "root generation %d was given up and made anew since", b.Generation)
	}
	node := *old
	node.RootsHeld = b.Generation
	c.PutNode(&node)
	return nodeResult(&node), nil
}

// rewrapRecords replaces what is still what it was when somebody put it under
// the roots in use.
func rewrapRecords(c *call, b command.RewrapRecords) (any, *Refusal) {
	switch {
	case len(b.Parts) == 0 || len(b.Parts) > command.MaxRewrapped:
		return nil, refuse(CodeInvalid, "one to %d things are put under other roots at once", command.MaxRewrapped)
	case b.Generation != c.Cluster().RootGeneration:
		return nil, refuse(CodeStale, "the cluster uses root generation %d", c.Cluster().RootGeneration)
	}
	for _, p := range b.Parts {
		version := p.What == state.SealedVersion
		if len(p.Bytes) == 0 || len(p.Bytes) > max(maxBlob, maxSealed) || version != (len(p.MAC) == macSize) {
			return nil, refuse(CodeInvalid, "something that was put under other roots is empty, too large, or lacks its MAC")
		}
	}
	var result RewrapResult
	for _, p := range b.Parts {
		if rewrap(c, b.Generation, p) {
			result.Done++
		} else {
			result.Stale++
		}
	}
	return result, nil
}

// rewrap replaces one thing and tells whether it did.
func rewrap(c *call, generation uint32, p command.Rewrapped) bool {
	is := func(b []byte) bool { return len(b) > 0 && sha256.Sum256(b) == p.Old }
	switch p.What {
	case state.SealedVersion:
		old, ok := c.Version(p.ID, p.Number)
		if !ok || !is(old.Blob) {
			return false
		}
		version := *old
		if version.FirstGeneration == 0 && old.RootGeneration != generation {
			version.FirstGeneration = old.RootGeneration
		}
		version.RootGeneration, version.Blob, version.MAC = generation, p.Bytes, p.MAC
		c.PutVersion(&version)
	case state.SealedAccessKey:
		old, ok := c.AccessKey(p.ID)
		if !ok || !is(old.SealedSecret) {
			return false
		}
		key := *old
		key.SealedSecret = p.Bytes
		c.PutAccessKey(&key)
	case state.SealedFactor, state.SealedNextFactor:
		old, ok := c.Authenticator(p.ID)
		if !ok {
			return false
		}
		factor := *old
		at := &factor.Sealed
		if p.What == state.SealedNextFactor {
			at = &factor.NextSealed
		}
		if !is(*at) {
			return false
		}
		*at = p.Bytes
		c.PutAuthenticator(&factor)
	case state.SealedCAKey, state.SealedCAKeyNext, state.SealedGossip, state.SealedGossipOther:
		cluster := *c.Cluster()
		at := map[state.SealedWhat]*[]byte{
			state.SealedCAKey: &cluster.SealedCAKey, state.SealedCAKeyNext: &cluster.SealedCAKeyNext, state.SealedGossip: &cluster.SealedGossip, state.SealedGossipOther: &cluster.SealedGossipOther,
		}[p.What]
		if p.ID != cluster.ID || !is(*at) {
			return false
		}
		*at = p.Bytes
		c.PutCluster(&cluster)
	case state.SealedFingerprint:
		old, ok := c.Key(p.ID)
		if !ok || !is(old.Fingerprint) {
			return false
		}
		key := *old
		key.Fingerprint = p.Bytes
		c.PutKey(&key)
	default:
		return false
	}
	return true
}
