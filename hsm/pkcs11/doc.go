// Package pkcs11 is the [hsm.Module] of real devices, spoken to through their
// PKCS#11 library (OASIS PKCS#11 v2.40).
//
// What it promises:
//   - The root set and the material of HSM level keys are in the clear only
//     inside the device. Every attribute that matters is set explicitly, since
//     left-out ones default to permissive, and what the device does not keep
//     is a note in Describe.
//   - Nothing leaves the device except under a key that the security officer
//     has marked as trusted, for the length of one ExportRoots.
//   - One session serves one goroutine. A session that gave an error other than
//     a refusal is never used again.
//   - A handle is used only within the login it came from. After a loss of
//     sessions, objects or login everything is found, unwrapped or logged in
//     again, and the call is tried once more.
//   - A refused PIN is not tried again, and neither is the last try that a
//     token has left: tokens lock.
//
// What it never does: it keeps no PIN, starts no goroutine, and sends nothing
// to the device that a caller did not ask for.
//
// What it cannot do: a call inside the device cannot be broken off; deadlines
// hold for the waiting before it. Whoever has the PIN and the device can use
// the keys for as long as that lasts.
//
// It is the only cgo of the tree, and written for Linux.
package pkcs11
