package iam

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"

	"golang.org/x/crypto/argon2"
)

// The cost of a password's hash: 19 MiB and two passes, the least that the
// OWASP Password Storage Cheat Sheet allows for Argon2id. More memory would let
// a few wrong logins at a time drive a small node out of its own.
const (
	argonMemory  = 19 << 10 // KiB
	argonPasses  = 2
	argonThreads = 1
	argonSalt    = 16 // bytes
	argonHash    = 32 // bytes
)

// HashPassword returns the Argon2id hash (RFC 9106) of a password under a fresh
// salt, with its cost, in the PHC string form. It takes tens of milliseconds.
func HashPassword(password string) string {
	var salt [argonSalt]byte
	rand.Read(salt[:]) // never fails: the process ends instead
	hash := argon2.IDKey([]byte(password), salt[:], argonPasses, argonMemory, argonThreads, argonHash)
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, argonMemory, argonPasses, argonThreads,
		base64.RawStdEncoding.EncodeToString(salt[:]), base64.RawStdEncoding.EncodeToString(hash))
}
