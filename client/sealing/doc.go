// Package sealing is envelope encryption for applications: data of any size is
// encrypted here, under a data key that the service makes and that travels
// with the data in its encrypted form. The service sees data keys, never data.
//
//	s := sealing.New(c, sealing.Options{})
//	sealed, err := s.Seal(ctx, "alias/orders", plaintext, map[string]string{"tenant": "7"})
//	plaintext, err := s.Open(ctx, sealed, map[string]string{"tenant": "7"})
//
//	w, err := s.Writer(ctx, "alias/backups", file, nil) // streams; Close ends the last segment
//	r, err := s.Reader(ctx, file, nil)
//
// # Format
//
// A header, then a stream of AES-256-GCM segments:
//
//	8 bytes   "raftkms" and the version of the format, 1
//	4 bytes   size of a segment in bytes, big-endian: 4 KiB or 1 MiB
//	16 bytes  id of the CMK (a UUID)
//	2 bytes   length n of the encrypted data key, big-endian: 1 to 4096
//	n bytes   the encrypted data key, of 32 bytes
//	…         Tink's AES-GCM-HKDF-STREAMING (HKDF-SHA-256, 32-byte derived keys)
//	          under the data key; its associated data is the whole header
//
// The stream has a random salt and nonce prefix of its own, so one data key may
// serve many streams. Segments cannot be left out, repeated, reordered or moved
// between streams, and a stream that was cut is an error at its end, not a
// shorter plaintext. The encryption context is bound to the encrypted data key.
// What was sealed by version 1 can be opened by every later version.
//
// # Caching
//
// Each Seal and Open costs one call to the service, unless [Options.Cache] is
// set. A cache is a trade: while a data key is in it, this process seals and
// opens without asking, so a disabled key, a revoked grant or a lost permission
// takes effect here only after [Cache.MaxAge]. Nor is each use of the key in
// the service's traces.
package sealing
