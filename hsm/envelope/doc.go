// Package envelope is the one format of every ciphertext that leaves raftkms,
// the same in all dialects, and of the secrets that lie sealed in the
// replicated state.
//
// An envelope is
//
//	version(1)=1 purpose(1) key id(16) key version(4) algorithm(1) nonce(24)
//	ciphertext tag(16)
//
// with numbers in big endian; the algorithm is 1 under an AES-256 key and 2
// under an SM4 one. Header and context (see [Context]) are the
// additional data of the encryption, so an envelope opens only under its own
// key id, version, purpose and context, even where two keys have equal
// material. The plaintext is padded inside the encryption (0x80, then zeros)
// to at least [MinSize] bytes in all; any other padding than the shortest is
// refused, so there is exactly one envelope for a nonce and a plaintext.
//
// What it never does: it does not look up keys, does not decide who may open
// what (the purpose in the header tells which permission that needs), and does
// not tell a forger in which way his forgery failed.
package envelope
