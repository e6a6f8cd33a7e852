// Package batch lets one call of a device serve many callers. All that a
// device does for a message is to encrypt two AES blocks (see package xaes),
// and most devices take thousands of blocks in the time of two.
//
// Callers that want the same key while a call for it is in the device wait,
// and all go together into the next one. Nothing waits for company: the first
// caller of an idle key goes at once, in its own goroutine, and only lets those
// run that are ready to (runtime.Gosched) before it takes along whoever waits.
// Then the first of those who came too late does the same. Where nobody was
// ever ready lately, that is tried now and then only.
//
// What it promises:
//   - A key with waiting callers gets its turn before any other gets a second
//     one, however many callers the other has. It has no turn while it may have
//     no further call.
//   - Never more calls in the device than there are sessions for, and for one
//     key no further call beside one in the device, unless that lasts long.
//   - No input larger than the device takes, unless one caller alone asks for it.
//   - A caller that waits comes back when its context ends, and its memory is
//     not touched any more. One whose blocks had not gone to the device is not
//     sent any more. The one that is inside the device for the others comes
//     back when the device does, as with a call of its own; the others that are
//     in its call come back when [Device.Fail] says that the device hangs.
//   - What an error means is left to the module, which tries again where that
//     may help: all whose blocks went together get the same error. Only when
//     the context of the caller inside has ended, that caller alone gets the
//     error, and the others go again, with the next of them inside.
//   - Blocks of callers are wiped from its buffers before these serve others.
//
// What it never does: it starts no goroutine and no timer, keeps no keys, and
// knows nothing of what the blocks mean.
//
// It is of use for keys behind a device, also one in software whose every call
// costs much (SoftHSM). A key in the memory of this process (package locked)
// encrypts faster than callers could be brought together.
package batch
