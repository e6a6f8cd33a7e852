// Package failover makes one [hsm.Module] of two devices that hold the same root
// keys: two slots of a device, or two devices with libraries of their own.
//
// Calls go to the first while it serves, to the second while the first does not,
// and to the first again once it is back. Since all material is wrapped under
// roots that both hold, nothing is copied between them for that: a key that was
// loaded in one is loaded in the other when it is first needed there.
//
// What it promises:
//   - A call that one device could not do is done by the other before its caller
//     hears of it; one that hangs in a device is left there as soon as the device
//     counts as gone. An error of both is one of [hsm.ErrUnavailable].
//   - No device is asked before it has proved, with a canary made by the other,
//     that it holds the same roots; also not one that was away and is back.
//   - Each device's generator is tested by what it gives, after each key that it
//     makes, when it is opened or back, and, the second's, while it stands by. One
//     that failed is out until the process ends, and what it gave or made
//     meanwhile comes to nobody. Only when both have failed has that of the pair
//     (entropy.ErrGenerator).
//   - The pair is out of service (see [hsm.Monitored]) only while both are.
//   - Roots are made, and destroyed, only while both are there. They are made in
//     the first, or in the second if the first's generator fails meanwhile;
//     [Pair.CopyRoots] brings them to the other, wrapped, from device to device.
//
// What it never does: it retries no PIN, keeps no key material, and compares no
// answers of the two: a device that serves is believed.
package failover
