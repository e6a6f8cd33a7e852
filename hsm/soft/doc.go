// Package soft is the embedded module: an [hsm.Module] without a device, the
// default of raftkms.
//
// Its root keys lie in three places, so that each alone is worth nothing:
//
//  1. the roots file: the root keys of every generation, encrypted to a public
//     key (HPKE, RFC 9180, with the hybrid of ML-KEM-768 and X25519);
//  2. the private key file: the private key for these, encrypted with AES-256-GCM;
//  3. the unlock key file: the 32 random bytes of that AES key, and nothing else;
//     or a passphrase, from which Argon2id (RFC 9106) makes that key.
//
// Beside the roots file, under the same public key, lies the private half of
// the transport pair while another node is about to send its roots. Both carry
// a MAC whose key comes from the private key, so neither can be made or changed
// by someone who has only the public one.
//
// What it promises: the files are written atomically with mode 0600 and synced;
// a file that others may read, that is cut short, or that belongs to other
// files is refused with a sentence that names it; nothing that exists is ever
// made anew. Root keys, the private key and loaded keys are held in locked
// memory (package locked).
//
// What it cannot promise: the three places protect only on separate media. Who
// reads all three, or the memory of the process, has the roots. The standard
// library's HPKE, RSA and HMAC keep copies of their keys on the Go heap for the
// time of a call and until the collector reuses that memory; so does Argon2id
// with its blocks when the module is opened. And DestroyRoots
// rewrites the roots file without a generation, but a file system or a disk may
// keep the old blocks, which the private key still opens.
package soft
