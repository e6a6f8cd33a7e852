package pkcs11

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	p11 "github.com/miekg/pkcs11"
	"golang.org/x/sync/semaphore"

	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/hsm/locked"
)

// Open loads the library, finds the token, logs the user in and learns what the
// device can do. A wrong PIN gives [hsm.ErrPIN] and is not tried again; a
// device without a mechanism that is needed gives [hsm.ErrUnsupported]. A library
// that does not answer gives [hsm.ErrUnavailable] after Config.OpenLimit, or when
// ctx ends, and keeps a goroutine inside: the caller should end the process.
//
// A token can be open once in a process: ExportRoots logs the whole process out
// of it for a moment.
func Open(ctx context.Context, cfg Config) (*Module, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("opening the module: %w", err)
	}
	m, err := inTime(ctx, cfg, func(ctx context.Context) (*Module, error) { return openToken(ctx, cfg) }, (*Module).abandon)
	if err != nil {
		return nil, fmt.Errorf("opening the module: %w", err)
	}
	return m, nil
}

// abandon closes a module that was opened when nobody waited for it any more.
func (m *Module) abandon() {
	if err := m.Close(); err != nil {
		m.log.Error("closing an HSM that took too long to open", "token", m.dev.label, "error", err)
	}
}

func openToken(ctx context.Context, cfg Config) (*Module, error) {
	lib, err := libraries.acquire(cfg.Library)
	if err != nil {
		return nil, err
	}
	found, err := findToken(lib, cfg)
	if err == nil {
		err = libraries.claim(lib, found.slot, cfg.TokenLabel)
	}
	if err != nil {
		return nil, errors.Join(err, lib.leave(cfg.CallLimit))
	}
	m := &Module{
		dev:   newDevice(lib, found.slot, cfg),
		admin: semaphore.NewWeighted(1),
		arena: locked.NewArena(cfg.LockedMemory),
		log:   cfg.Logger,
	}
	m.dev.probe = m.probe
	if err := m.start(ctx, found, cfg); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	m.dev.loops.Go(m.dev.supervise)
	return m, nil
}

// token is what was found at a slot.
type token struct {
	slot     uint
	hardware bool
	info     p11.TokenInfo
}

func findToken(lib *library, cfg Config) (token, error) {
	slots, err := lib.slots()
	if err != nil {
		return token{}, fmt.Errorf("listing the slots: %w", describe(err))
	}
	var found []token
	var others []string
	for _, slot := range slots {
		info, err := lib.api.GetTokenInfo(slot)
		if err != nil || info.Flags&p11.CKF_TOKEN_INITIALIZED == 0 {
			continue // the token of another slot is none of our concern
		}
		if info.Label != cfg.TokenLabel || cfg.Serial != "" && info.SerialNumber != cfg.Serial {
			others = append(others, fmt.Sprintf("%q (serial %s)", info.Label, info.SerialNumber))
			continue
		}
		slotInfo, err := lib.api.GetSlotInfo(slot)
		if err != nil {
			return token{}, fmt.Errorf("asking for the slot: %w", describe(err))
		}
		found = append(found, token{slot: slot, hardware: slotInfo.Flags&p11.CKF_HW_SLOT != 0, info: info})
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		if len(others) == 0 {
			others = []string{"none"}
		}
		return token{}, fmt.Errorf("finding the token %q: there are %s", cfg.TokenLabel, strings.Join(others, ", "))
	default:
		return token{}, fmt.Errorf("finding the token %q: %d tokens have that label; say which serial", cfg.TokenLabel, len(found))
	}
}

func (m *Module) start(ctx context.Context, t token, cfg Config) error {
	sessions := uint(cfg.Sessions + objectSessions + 1)
	// 0 is without a limit, all bits set is not known.
	if most := t.info.MaxRwSessionCount; most != 0 && most != ^uint(0) && most < sessions {
		return fmt.Errorf("the token allows %d sessions, %d are asked for: configure fewer", most, sessions)
	}
	if err := m.dev.reconnect(ctx, 0); err != nil {
		return err
	}
	refused, err := m.learnAttributes(ctx)
	if err != nil {
		return err
	}
	notes, err := m.mechanisms(ctx)
	if err != nil {
		return err
	}
	notes = append(notes, refused...)
	m.about = hsm.Description{
		Kind:         "pkcs11",
		Device:       true,
		Hardware:     t.hardware,
		Sessions:     cfg.Sessions,
		Manufacturer: t.info.ManufacturerID,
		Model:        t.info.Model,
		Serial:       t.info.SerialNumber,
		Firmware:     fmt.Sprintf("%d.%d", t.info.FirmwareVersion.Major, t.info.FirmwareVersion.Minor),
	}
	if !t.hardware {
		notes = append(notes, "The token does not say that it is hardware: keys are as safe as the machine that keeps its files.")
	}
	if m.blocksOffered {
		if m.about.MaxBlocks, err = m.largestInput(ctx); err != nil {
			return err
		}
	}
	m.about.Capabilities, m.about.Notes = m.capabilities(), notes
	for _, note := range notes {
		m.log.Warn("the module has a limitation", "token", cfg.TokenLabel, "note", note)
	}
	return nil
}

// mechanisms learns which mechanisms the token offers.
func (m *Module) mechanisms(ctx context.Context) (notes []string, err error) {
	list, err := m.dev.api.GetMechanismList(m.dev.slot)
	if err != nil {
		return nil, fmt.Errorf("listing the mechanisms: %w", describe(err))
	}
	offers := func(kind uint) bool {
		return slices.ContainsFunc(list, func(o *p11.Mechanism) bool { return o.Mechanism == kind })
	}
	for kind, name := range map[uint]string{
		p11.CKM_AES_KEY_GEN:            "CKM_AES_KEY_GEN",
		p11.CKM_GENERIC_SECRET_KEY_GEN: "CKM_GENERIC_SECRET_KEY_GEN",
		p11.CKM_SHA256_HMAC:            "CKM_SHA256_HMAC",
	} {
		if !offers(kind) {
			return nil, fmt.Errorf("%w: the token has no %s", hsm.ErrUnsupported, name)
		}
	}
	if notes, err = m.chooseWrapping(offers); err != nil {
		return nil, err
	}
	if m.blocksOffered = offers(p11.CKM_AES_ECB); !m.blocksOffered {
		notes = append(notes, "The token does not offer CKM_AES_ECB: HSM level keys cannot be used on it.")
	}
	if !offers(p11.CKM_RSA_PKCS_OAEP) || !offers(p11.CKM_RSA_PKCS_KEY_PAIR_GEN) {
		notes = append(notes, "The token does not offer RSA-OAEP: roots cannot be sent to or from it.")
	}
	return notes, m.learn(ctx, offers)
}

// largestInput finds how many blocks the device takes in one C_Encrypt: as many
// as a key in locked memory does, or the largest power of two below.
func (m *Module) largestInput(ctx context.Context) (blocks int, err error) {
	buffer := make([]byte, blockSize*locked.MaxBlocks)
	for blocks = locked.MaxBlocks; blocks >= 2; blocks /= 2 {
		input := buffer[:blockSize*blocks]
		err = m.dev.call(ctx, m.dev.work, func(s *session) error {
			key, err := m.dev.api.GenerateKey(s.handle, mechanism(p11.CKM_AES_KEY_GEN), newMaterial(uses{encrypt: true}))
			if err != nil {
				return fmt.Errorf("making a key to try: %w", err)
			}
			return errors.Join(m.encrypt(s, key, input, input), m.dev.api.DestroyObject(s.handle, key))
		})
		if err == nil {
			return blocks, nil
		}
	}
	return 0, fmt.Errorf("finding the largest input: %w", err)
}
