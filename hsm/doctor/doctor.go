// Package doctor examines a module as an operator would: what it says of
// itself, what it will be used for, what it lacks, and how long each operation
// takes. It does nothing that the product does not do, and leaves nothing behind.
package doctor

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/hsm/entropy"
	"github.com/raftkms/raftkms/hsm/keypair"
)

// Report is what was found.
type Report struct {
	Kind         string       `json:"kind"`
	Library      string       `json:"library,omitempty"`
	Token        string       `json:"token,omitempty"`
	Manufacturer string       `json:"manufacturer,omitempty"`
	Model        string       `json:"model,omitempty"`
	Serial       string       `json:"serial,omitempty"`
	Firmware     string       `json:"firmware,omitempty"`
	Hardware     bool         `json:"hardware"`
	Sessions     int          `json:"sessions,omitempty"`
	MaxBlocks    int          `json:"max_blocks,omitempty"`
	Devices      []Device     `json:"devices,omitempty"` // of a node with two
	Tokens       []Token      `json:"tokens,omitempty"`
	Mechanisms   []Mechanism  `json:"mechanisms,omitempty"`
	Capabilities []Capability `json:"capabilities"`
	Roots        []RootSet    `json:"roots"`
	Measures     []Measure    `json:"measures"`
	// Notes are limitations with which the module can carry a node.
	Notes []string `json:"notes"`
	// Problems are reasons why it cannot.
	Problems []string `json:"problems"`
}

// Device is one of two HSMs of a node. That one of them does not serve keeps the
// other from nothing, so it is no problem of the report's.
type Device struct {
	Name    string `json:"name"`
	Serves  bool   `json:"serves"`
	Problem string `json:"problem,omitempty"`
}

// Token is one token that the library shows.
type Token struct {
	Slot   uint   `json:"slot"`
	Label  string `json:"label"`
	Serial string `json:"serial"`
	Model  string `json:"model"`
}

// Mechanism is one that the product uses where it is offered.
type Mechanism struct {
	Name    string `json:"name"`
	For     string `json:"for"`
	Offered bool   `json:"offered"`
	Needed  bool   `json:"needed"` // a node cannot do without it
}

// Capability is a row of what keys of the level HSM can do.
type Capability struct {
	Spec string `json:"spec"`
	Use  string `json:"use"`
	How  string `json:"how"`
}

// RootSet is one set of root keys that the module holds.
type RootSet struct {
	Cluster    string `json:"cluster"`
	Generation uint32 `json:"generation"`
}

// Measure is one operation that was timed.
type Measure struct {
	Operation    string `json:"operation"`
	Microseconds int64  `json:"microseconds"` // the median
	Error        string `json:"error,omitempty"`
}

// Carries tells whether the module can carry a node.
func (r *Report) Carries() bool { return len(r.Problems) == 0 }

// Problem adds a reason why it cannot.
func (r *Report) Problem(err error) { r.Problems = append(r.Problems, err.Error()) }

// New returns a report that knows what the module says of itself.
func New(d hsm.Description) *Report {
	r := &Report{
		Kind: d.Kind, Manufacturer: d.Manufacturer, Model: d.Model, Serial: d.Serial, Firmware: d.Firmware,
		Hardware: d.Hardware, Sessions: d.Sessions, MaxBlocks: d.MaxBlocks, Notes: append([]string{}, d.Notes...),
		Problems: []string{}, Measures: []Measure{}, Roots: []RootSet{}, Capabilities: []Capability{},
	}
	for _, c := range d.Capabilities {
		r.Capabilities = append(r.Capabilities, Capability{string(c.Spec), c.Use.String(), c.How})
	}
	if d.Device && d.MaxBlocks == 0 {
		r.Problems = append(r.Problems, "The device encrypts no AES blocks (CKM_AES_ECB), so it can carry no keys of the level HSM.")
	}
	return r
}

// Examine times what a node asks of a module that has roots, and holds every
// answer against what this process computes; one that is wrong is a problem. Keys are made for
// it and closed again; only their wrapped form ever existed elsewhere.
func (r *Report) Examine(ctx context.Context, m hsm.Module) {
	message := []byte("raftkms doctor")
	var mac []byte
	r.time(ctx, "sign a record", 9, true, func(ctx context.Context) (err error) {
		mac, err = m.MAC(ctx, message)
		return err
	})
	r.time(ctx, "verify a record", 9, true, func(ctx context.Context) error { return m.VerifyMAC(ctx, message, mac) })
	random := entropy.NewPool(m) // with its health tests, like a node
	defer random.Close()
	r.time(ctx, "draw 64 KiB of randomness", 3, true, func(ctx context.Context) error { return random.Draw(ctx, make([]byte, entropy.DrawBytes)) })
	r.examineKey(ctx, m, hsm.LevelSoftware)
	if m.Describe().Device && m.Describe().MaxBlocks > 0 {
		r.examineKey(ctx, m, hsm.LevelHSM)
	}
	if len(mac) > 0 {
		r.time(ctx, "refuse an altered record", 1, true, func(ctx context.Context) error { return refusesRecords(ctx, m, message, mac) })
	}
	for _, spec := range hsm.Specs() {
		if spec != hsm.SpecAES256 && m.Describe().Carries(spec) {
			r.examineSpec(ctx, m, spec)
		}
	}
}

func (r *Report) examineKey(ctx context.Context, m hsm.Module, level hsm.Level) {
	var wrapped hsm.Wrapped
	r.time(ctx, fmt.Sprintf("make and wrap an AES_256 key, level %v", level), 5, true, func(ctx context.Context) (err error) {
		wrapped, err = m.Generate(ctx, level, hsm.SpecAES256)
		return err
	})
	if wrapped.Blob == nil {
		return
	}
	var key hsm.Key
	r.time(ctx, fmt.Sprintf("load it, level %v", level), 5, true, func(ctx context.Context) error {
		if key != nil {
			if err := key.Close(); err != nil {
				return err
			}
			key = nil
		}
		loaded, err := m.Load(ctx, wrapped)
		if err != nil {
			return err
		}
		blocks, is := loaded.(hsm.Key)
		if !is {
			return errors.Join(errors.New("what was loaded encrypts no blocks"), loaded.Close())
		}
		key = blocks
		return nil
	})
	if key == nil {
		return
	}
	for _, keys := range []int{1, 64} {
		blocks, first, got := make([]byte, 32*keys), []byte(nil), make([]byte, 32*keys)
		rand.Read(blocks)
		what := "derive one data key, level %v"
		if keys > 1 {
			what = "derive 64 data keys in one call, level %v"
		}
		r.compare(ctx, fmt.Sprintf(what, level), 15, true, func(ctx context.Context) error { return key.EncryptBlocks(ctx, got, blocks) }, func() error {
			if first == nil {
				first = bytes.Clone(got)
			}
			return same(got, first)
		})
		r.examineKnown(ctx, m, level, keys)
	}
	if err := key.Close(); err != nil {
		r.Problem(fmt.Errorf("closing a key: %w", err))
	}
}

// examineSpec makes and loads one key of an algorithm, and does with it what it
// is for. That one of them does not work is no reason why a node could not go on;
// that one of them answers wrongly is.
func (r *Report) examineSpec(ctx context.Context, m hsm.Module, spec hsm.Spec) {
	var wrapped hsm.Wrapped
	r.time(ctx, fmt.Sprintf("make and wrap a key %s", spec), 1, false, func(ctx context.Context) (err error) {
		wrapped, err = m.Generate(ctx, hsm.LevelHSM, spec)
		return err
	})
	if wrapped.Blob == nil {
		return
	}
	if spec.Family() == hsm.FamilyHMAC {
		r.examineKnownMAC(ctx, m, spec)
	}
	for _, use := range spec.Uses() {
		if m.Describe().CarriesFor(spec, use) {
			wrapped.Use = use
			r.examineUse(ctx, m, wrapped)
		}
	}
}

// examineUse loads a key for one use, and times and checks that.
func (r *Report) examineUse(ctx context.Context, m hsm.Module, wrapped hsm.Wrapped) {
	var key hsm.Loaded
	r.time(ctx, fmt.Sprintf("load it, %s for %s", wrapped.Spec, wrapped.Use), 1, false, func(ctx context.Context) (err error) {
		key, err = m.Load(ctx, wrapped)
		return err
	})
	if key == nil {
		return
	}
	each := func(operation string, f func(ctx context.Context) error, right func() error) {
		r.compare(ctx, fmt.Sprintf("%s, %s", operation, wrapped.Spec), 5, false, f, right)
	}
	message := make([]byte, 32)
	rand.Read(message)
	var answer []byte
	switch key := key.(type) {
	case hsm.Signer:
		for _, scheme := range hsm.Schemes() {
			if !scheme.Fits(wrapped.Spec) {
				continue
			}
			digest, err := keypair.Digest(wrapped.Spec, wrapped.PublicKey, scheme, message)
			each(fmt.Sprintf("sign with %s", scheme), func(ctx context.Context) error {
				if err == nil {
					answer, err = key.Sign(ctx, scheme, digest)
				}
				return err
			}, func() error { return verifies(wrapped, scheme, digest, answer) })
		}
	case hsm.Decrypter:
		for _, padding := range []hsm.Padding{hsm.PaddingOAEPSHA256, hsm.PaddingOAEPSHA1} {
			ciphertext, err := keypair.Encrypt(wrapped.Spec, wrapped.PublicKey, padding, nil, message)
			each(fmt.Sprintf("decrypt with %s", padding), func(ctx context.Context) error {
				if err == nil {
					answer, err = key.Decrypt(ctx, padding, nil, ciphertext)
				}
				return err
			}, func() error { return same(answer, message) })
		}
	case hsm.Agreer:
		peer, secret, err := peerOf(wrapped)
		each("agree on a secret", func(ctx context.Context) error {
			if err == nil {
				answer, err = key.Agree(ctx, peer)
			}
			return err
		}, func() error { return same(answer, secret) })
		clear(secret)
		clear(answer)
	case hsm.MACer:
		var first []byte
		each("make a MAC", func(ctx context.Context) (err error) {
			answer, err = key.MAC(ctx, message)
			return err
		}, func() error {
			if first == nil {
				first = answer
			}
			return same(answer, first)
		})
	}
	if err := key.Close(); err != nil {
		r.Problem(fmt.Errorf("closing a key: %w", err))
	}
}

// time runs f some times and keeps the median.
func (r *Report) time(ctx context.Context, operation string, times int, needed bool, f func(context.Context) error) {
	r.compare(ctx, operation, times, needed, f, func() error { return nil })
}

// compare does that, and after each run has right look at the answer, which
// takes no part of the time.
func (r *Report) compare(ctx context.Context, operation string, times int, needed bool, f func(context.Context) error, right func() error) {
	measure := Measure{Operation: operation}
	var took []time.Duration
	for range times {
		started := time.Now()
		err := f(ctx)
		lasted := time.Since(started)
		if err == nil {
			err = right()
		}
		if err != nil {
			if isWrong(err) && !errors.Is(err, errWrong) {
				err = fmt.Errorf("%w: %w", errWrong, err)
			}
			measure.Error = err.Error()
			if needed || isWrong(err) {
				r.Problem(fmt.Errorf("%s: %w", operation, err))
			} else {
				r.Notes = append(r.Notes, fmt.Sprintf("%s does not work: %v", operation, err))
			}
			break
		}
		took = append(took, lasted)
	}
	if len(took) > 0 {
		slices.Sort(took)
		measure.Microseconds = took[len(took)/2].Microseconds()
	}
	r.Measures = append(r.Measures, measure)
}
