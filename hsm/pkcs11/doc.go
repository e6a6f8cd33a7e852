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
//   - A device that fails (a call that has been inside for too long, a login
//     that is not to be had, a fault that shows again when the supervisor looks)
//     is in an outage: calls fail at once, with [hsm.ErrUnavailable], and one
//     goroutine gives up all sessions, finalises and initialises the library
//     again and logs in, with growing pauses of at most two seconds, until the
//     device works. See Health and Changed.
//   - A refused PIN is not tried again, and neither is the last try that a
//     token has left: tokens lock.
//
// What it never does: it keeps no PIN, and sends nothing to a device that serves
// that a caller did not ask for.
//
// What it cannot do: a call inside the device cannot be broken off, and its
// library not unloaded below it; deadlines hold for the waiting before it. At
// most as many callers hang with the device as it has sessions; a call that
// never comes back is told to Config.Hung, since only the end of the process
// frees what it holds; Open leaves such a call after Config.OpenLimit. A library that two tokens share is not initialised again
// while one of them works. Whoever has the PIN and the device can use
// the keys for as long as that lasts.
//
// It is the only cgo of the tree, and written for Linux.
package pkcs11
