// Package padding is the part of RSA that needs no private key: what is put
// around a message before the device computes, and taken off afterwards.
//
// It is for devices that offer raw RSA (CKM_RSA_X_509) but not the padding with
// the hash that is asked for. What it promises: unpadding takes a time that
// depends on the sizes alone and fails with one answer, so that a device with
// this package in front of it is no oracle (Manger, Bleichenbacher). What it
// never does: it sees no key.
package padding

import (
	"crypto"
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
)

// UnpadOAEP takes EME-OAEP (RFC 8017 §7.1.2) off the block that raw RSA gave: em
// is as long as the modulus, leading zeros included. MGF1 uses the same hash.
// It works inside em; message is a part of it, the caller's to wipe with it.
func UnpadOAEP(hash crypto.Hash, label, em []byte) (message []byte, ok bool) {
	size := hash.Size()
	if len(em) < 2*size+2 {
		return nil, false
	}
	first := subtle.ConstantTimeByteEq(em[0], 0)
	seed, db := em[1:1+size], em[1+size:]
	xorMGF1(seed, hash, db)
	xorMGF1(db, hash, seed)
	labelHash := sum(hash, label)
	same := subtle.ConstantTimeCompare(db[:size], labelHash)
	// Zeros, then a one, then the message: looking is 1 until the one is found.
	rest := db[size:]
	looking, at, stray := 1, 0, 0
	for i, b := range rest {
		zero, one := subtle.ConstantTimeByteEq(b, 0), subtle.ConstantTimeByteEq(b, 1)
		at = subtle.ConstantTimeSelect(looking&one, i, at)
		looking = subtle.ConstantTimeSelect(one, 0, looking)
		stray = subtle.ConstantTimeSelect(looking&^zero, 1, stray)
	}
	if first&same&^looking&^stray != 1 {
		return nil, false
	}
	return rest[at+1:], true
}

// UnpadPKCS1 takes EME-PKCS1-v1_5 (RFC 8017 §7.2.2) off such a block, if the
// message has exactly want bytes. It copies the message over dst, which has
// want bytes, or leaves dst as it is; which of the two happened must not show:
// dst starts with random bytes, and whoever uses it finds out by what depends
// on the message (implicit rejection). want is no secret.
func UnpadPKCS1(dst, em []byte) {
	const least = 8 // bytes of padding that are not zero
	want := len(dst)
	if len(em) < want+least+3 {
		return
	}
	split := len(em) - want - 1
	good := subtle.ConstantTimeByteEq(em[0], 0) & subtle.ConstantTimeByteEq(em[1], 2)
	for _, b := range em[2:split] {
		good &= 1 ^ subtle.ConstantTimeByteEq(b, 0)
	}
	good &= subtle.ConstantTimeByteEq(em[split], 0)
	subtle.ConstantTimeCopy(good, dst, em[split+1:])
}

// PadPSS makes EMSA-PSS (RFC 8017 §9.1.1) of a digest for a modulus of that many
// bits, with a salt as long as the digest. The result is as long as the modulus.
func PadPSS(hash crypto.Hash, digest []byte, modulusBits int) ([]byte, error) {
	size := hash.Size()
	bits := modulusBits - 1
	length := (bits + 7) / 8
	if len(digest) != size || length < 2*size+2 {
		return nil, fmt.Errorf("padding a digest of %d bytes for a modulus of %d bits", len(digest), modulusBits)
	}
	salt := make([]byte, size)
	if _, err := rand.Read(salt); err != nil {
		return nil, fmt.Errorf("drawing a salt: %w", err)
	}
	h := hash.New()
	h.Write(make([]byte, 8))
	h.Write(digest)
	h.Write(salt)
	em := make([]byte, length)
	db := em[:length-size-1]
	db[len(db)-size-1] = 1
	copy(db[len(db)-size:], salt)
	copy(em[len(db):], h.Sum(nil))
	xorMGF1(db, hash, em[len(db):length-1])
	em[0] &= 0xff >> (8*length - bits)
	em[length-1] = 0xbc
	return append(make([]byte, (modulusBits+7)/8-length), em...), nil
}

// digestInfo are the DER bytes in front of a digest, RFC 8017 §9.2.
var digestInfo = map[crypto.Hash][]byte{
	crypto.SHA256: {0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20},
	crypto.SHA384: {0x30, 0x41, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02, 0x05, 0x00, 0x04, 0x30},
	crypto.SHA512: {0x30, 0x51, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x03, 0x05, 0x00, 0x04, 0x40},
}

// DigestInfo returns what PKCS #1 v1.5 signs for a digest: CKM_RSA_PKCS pads it.
func DigestInfo(hash crypto.Hash, digest []byte) ([]byte, error) {
	prefix, known := digestInfo[hash]
	if !known || len(digest) != hash.Size() {
		return nil, fmt.Errorf("naming a digest of %d bytes: not one of hash %d", len(digest), hash)
	}
	return append(prefix[:len(prefix):len(prefix)], digest...), nil
}

// xorMGF1 XORs out with the mask that MGF1 makes of seed.
func xorMGF1(out []byte, hash crypto.Hash, seed []byte) {
	h := hash.New()
	var counter [4]byte
	var mask []byte
	for at, n := 0, uint32(0); at < len(out); n++ {
		h.Reset()
		h.Write(seed)
		binary.BigEndian.PutUint32(counter[:], n)
		h.Write(counter[:])
		mask = h.Sum(mask[:0])
		at += subtle.XORBytes(out[at:], out[at:], mask)
	}
	clear(mask)
}

func sum(hash crypto.Hash, b []byte) []byte {
	h := hash.New()
	h.Write(b)
	return h.Sum(nil)
}
