// Package custody keeps root keys with people: a backup of a cluster's root
// sets, and the shares that open it.
//
// A backup is wrapped under a recovery key, by the module that holds the roots
// ([hsm.Module.BackUpRoots]); of a device the roots come out in no other way.
// The recovery key is nowhere: it is made of a secret that is split after
// Shamir, in the prime order group ristretto255, into as many shares as there
// are custodians, of which any k give it and any k-1 say nothing. The file and
// the shares are of no use without one another.
//
//	secret (a scalar, never zero)
//	  |-- HKDF-SHA-256, salt = set id, "raftkms custody wrapping v1" --> recovery key
//	  '-- HKDF-SHA-256, salt = set id, "raftkms custody file v1" ------> key of the file's HMAC
//
// What it promises: the set id in the file and in every share tells shares of
// different backups apart, a checksum tells a mistyped share, the hashes of all
// shares in the file tell which one is not what was given out, and the HMAC
// covers every byte of the file. The derived keys lie in locked memory and are
// wiped. What it cannot promise: the arithmetic on shares is done with copies
// on the Go heap, which last until the collector reuses that memory; and
// strings that a terminal or a request brought cannot be wiped.
package custody
