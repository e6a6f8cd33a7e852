// Package locked keeps secrets in memory that the kernel neither swaps out nor
// dumps: anonymous pages outside the Go heap, locked with mlock(2), left out of
// core dumps with MADV_DONTDUMP, and wiped before they are given back.
//
// What it promises:
//   - A [Buffer] is zero when it is handed out and wiped when it is destroyed.
//   - A [Key] keeps the whole expanded AES key schedule in such memory, not only
//     the 32 bytes it was made from; the garbage collector never sees a copy
//     after [Arena.NewKey] has returned.
//   - Memory is bounded by the limit of the [Arena].
//   - Where the limit RLIMIT_MEMLOCK does not allow locking, everything works
//     on unlocked pages, still wiped and not dumped, and Locked says so.
//
// What it cannot promise: registers and stacks of goroutines hold round keys
// while a block is being encrypted, a hypervisor may copy any page, hibernation
// writes locked pages too, and whoever can ptrace the process reads all of it.
//
// It never relies on finalizers: what is not destroyed stays until
// [Arena.Close]. It is written for Linux.
package locked
