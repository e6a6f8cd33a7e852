// Package backup is the file format of a backup: a snapshot of the replicated
// state, encrypted and authenticated by the cluster's own root keys.
//
// It promises: a backup says in the clear which cluster, root generation and
// log index it is of, so that a person can tell backups apart and see which
// root set opens them; nothing else of it can be read, and nothing of it
// changed, without a module that holds those roots. Destroying a root
// generation everywhere erases every backup of it.
//
// # Format, version 1
//
//	16 bytes  "raftkms backup\x00\x01"
//	 4 bytes  length of the header, big-endian, at most 64 KiB
//	          header, JSON: see [Header]
//	32 bytes  MAC over all of the above, by the record MAC key of the roots
//	          the snapshot: Tink's AES-GCM-HKDF-STREAMING (HKDF-SHA-256, 32-byte
//	          keys, 1 MiB segments) under the data key that the header holds
//	          sealed; its associated data is everything before it
package backup
