// Package faultylib builds a PKCS#11 library that forwards to another one and
// misbehaves as a test tells it: a device that is unplugged, hangs, is slow, is
// full, refuses its PIN, answers wrongly, or lacks what others have.
//
// It is written in C (library/faulty.c), so that what is tested is everything
// up to the real library: the function list, the wrapper, the threads. It needs
// a C compiler, as cgo does. The control file lies beside the library, under
// the library's name with ".control", and may be opened by another process than
// the one that uses the library: see [Attach].
package faultylib
