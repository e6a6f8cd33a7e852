package pkcs11

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"
	p11 "github.com/miekg/pkcs11"

	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/hsm/doctor"
)

// doctorsCluster is that of the root set with which a device is examined. It is
// made for that and destroyed at the end.
var doctorsCluster = hsm.ClusterID(uuid.MustParse("d0c70000-0000-4000-8000-000000000000"))

// uses of mechanisms, in the order in which people are shown them.
var usedMechanisms = []struct {
	kind      uint
	name, use string
	needed    bool
}{
	{p11.CKM_AES_KEY_GEN, "CKM_AES_KEY_GEN", "root keys and AES keys", true},
	{p11.CKM_GENERIC_SECRET_KEY_GEN, "CKM_GENERIC_SECRET_KEY_GEN", "the record MAC key", true},
	{p11.CKM_SHA256_HMAC, "CKM_SHA256_HMAC", "record MACs, HMAC keys", true},
	{p11.CKM_SHA384_HMAC, "CKM_SHA384_HMAC", "HMAC keys", false},
	{p11.CKM_SHA512_HMAC, "CKM_SHA512_HMAC", "HMAC keys", false},
	{p11.CKM_AES_ECB, "CKM_AES_ECB", "deriving one-time keys of data keys", true},
	{mechanismKWP, "CKM_AES_KEY_WRAP_KWP", "wrapping key material (RFC 5649)", false},
	{p11.CKM_AES_KEY_WRAP_PAD, "CKM_AES_KEY_WRAP_PAD", "the same, where there is no CKM_AES_KEY_WRAP_KWP", false},
	{p11.CKM_AES_KEY_WRAP, "CKM_AES_KEY_WRAP", "padded key material (RFC 3394), where there is neither", false},
	{p11.CKM_RSA_PKCS_KEY_PAIR_GEN, "CKM_RSA_PKCS_KEY_PAIR_GEN", "transport keys, RSA keys", false},
	{p11.CKM_RSA_PKCS_OAEP, "CKM_RSA_PKCS_OAEP", "sending and receiving root keys, RSA decryption", false},
	{p11.CKM_RSA_PKCS, "CKM_RSA_PKCS", "RSA signatures", false},
	{p11.CKM_RSA_PKCS_PSS, "CKM_RSA_PKCS_PSS", "RSA-PSS signatures", false},
	{p11.CKM_RSA_X_509, "CKM_RSA_X_509", "what the device's own paddings lack", false},
	{p11.CKM_EC_KEY_PAIR_GEN, "CKM_EC_KEY_PAIR_GEN", "elliptic curve keys", false},
	{p11.CKM_ECDSA, "CKM_ECDSA", "ECDSA signatures", false},
	{p11.CKM_ECDH1_DERIVE, "CKM_ECDH1_DERIVE", "key agreement", false},
	{mechanismEdwardsPair, "CKM_EC_EDWARDS_KEY_PAIR_GEN", "Ed25519 keys", false},
	{mechanismEdDSA, "CKM_EDDSA", "Ed25519 signatures", false},
}

// Diagnose opens the token as a node would, makes a root set for the occasion,
// times every operation, and destroys it. It is for a token that no node has
// open. What keeps it from going on is a problem in the report, one sentence.
func Diagnose(ctx context.Context, cfg Config) *doctor.Report {
	r := doctor.New(hsm.Description{Kind: "pkcs11"})
	r.Library, r.Token = cfg.Library, cfg.TokenLabel
	full, err := cfg.withDefaults()
	if err != nil {
		r.Problem(err)
		return r
	}
	shown, err := inTime(ctx, full, func(context.Context) (contents, error) { return look(full) }, contents.abandon)
	if err != nil {
		r.Problem(err)
		return r
	}
	r.Tokens, r.Mechanisms = shown.tokens, shown.mechanisms
	defer func() {
		if err := shown.lib.leave(full.CallLimit); err != nil {
			r.Problem(err)
		}
	}()
	m, err := Open(ctx, cfg)
	if err != nil {
		r.Problem(err)
		return r
	}
	about := doctor.New(m.Describe())
	about.Library, about.Token, about.Tokens, about.Mechanisms = r.Library, r.Token, r.Tokens, r.Mechanisms
	*r = *about
	if err := m.diagnose(ctx, r); err != nil {
		r.Problem(err)
	}
	if err := m.Close(); err != nil {
		r.Problem(err)
	}
	return r
}

// contents is what a library shows to who is not logged in, and the hold on it.
type contents struct {
	lib        *library
	tokens     []doctor.Token
	mechanisms []doctor.Mechanism
}

func look(cfg Config) (c contents, err error) {
	if c.lib, err = libraries.acquire(cfg.Library); err != nil {
		return c, err
	}
	c.tokens = tokens(c.lib)
	if found, err := findToken(c.lib, cfg); err == nil {
		c.mechanisms = offeredMechanisms(c.lib.api, found.slot)
	}
	return c, nil
}

// abandon lets go of a library that answered when nobody waited any more.
func (c contents) abandon() {
	// What it says is for nobody: the report is written.
	_ = libraries.release(c.lib)
}

func (m *Module) diagnose(ctx context.Context, r *doctor.Report) (err error) {
	roots, err := m.RootSets(ctx)
	if err != nil {
		return err
	}
	for _, set := range roots {
		if set.Cluster != uuid.UUID(doctorsCluster).String() {
			r.Roots = append(r.Roots, set)
		}
	}
	// What an examination that was cut off has left.
	if err := m.DestroyRoots(ctx, doctorsCluster, 1); err != nil && !errors.Is(err, hsm.ErrNoRoots) {
		return err
	}
	if err := m.CreateRoots(ctx, doctorsCluster, 1); err != nil {
		return fmt.Errorf("making root keys to try: %w", err)
	}
	defer func() {
		if derr := m.DestroyRoots(context.WithoutCancel(ctx), doctorsCluster, 1); derr != nil {
			err = errors.Join(err, fmt.Errorf("destroying the root keys that were made to try: %w", derr))
		}
	}()
	m.notesLock.Lock()
	r.Notes = append(r.Notes, m.rootNotes...) // which attributes the device does not keep
	m.notesLock.Unlock()
	r.Examine(ctx, m)
	return nil
}

// Survey adds to a report what the library shows of a module that is in use: its
// tokens, the mechanisms of its own, and the root sets.
func (m *Module) Survey(ctx context.Context, r *doctor.Report) error {
	r.Library, r.Token = m.dev.cfg.Library, m.dev.label
	err := m.dev.call(ctx, m.dev.work, func(*session) error {
		r.Tokens, r.Mechanisms = tokens(m.dev.lib), offeredMechanisms(m.dev.api, m.dev.slot)
		return nil
	})
	if err != nil {
		return fmt.Errorf("asking the library what it has: %w", err)
	}
	sets, err := m.RootSets(ctx)
	if err != nil {
		return err
	}
	r.Roots = append(r.Roots, sets...)
	return nil
}

// RootSets lists the root sets in the token, of whatever cluster.
func (m *Module) RootSets(ctx context.Context) (sets []doctor.RootSet, err error) {
	err = m.administer(ctx, func(s *session) error {
		inv, err := m.inventory(s)
		if err != nil {
			return err
		}
		sets = nil
		for name, found := range inv {
			if found.counts() {
				sets = append(sets, doctor.RootSet{Cluster: uuid.UUID(name.cluster).String(), Generation: uint32(name.generation)})
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("listing the root keys: %w", err)
	}
	slices.SortFunc(sets, func(a, b doctor.RootSet) int {
		return cmp.Or(cmp.Compare(a.Cluster, b.Cluster), cmp.Compare(a.Generation, b.Generation))
	})
	return sets, nil
}

// tokens lists what the library shows, as far as it tells.
func tokens(lib *library) (list []doctor.Token) {
	slots, err := lib.slots()
	if err != nil {
		return nil
	}
	for _, slot := range slots {
		info, err := lib.api.GetTokenInfo(slot)
		if err == nil && info.Flags&p11.CKF_TOKEN_INITIALIZED != 0 {
			list = append(list, doctor.Token{Slot: slot, Label: info.Label, Serial: info.SerialNumber, Model: info.Model})
		}
	}
	return list
}

func offeredMechanisms(api cryptoki, slot uint) (list []doctor.Mechanism) {
	offered, err := api.GetMechanismList(slot)
	if err != nil {
		return nil
	}
	for _, u := range usedMechanisms {
		is := slices.ContainsFunc(offered, func(m *p11.Mechanism) bool { return m.Mechanism == u.kind })
		list = append(list, doctor.Mechanism{Name: u.name, For: u.use, Offered: is, Needed: u.needed})
	}
	return list
}
