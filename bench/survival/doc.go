// Package survival measures what the users of a cluster notice of its leaders'
// deaths, its fences and its size, and says of each figure what is to be
// reached. The nodes are real kmsd processes on this machine; faults are
// signals. Ratios and counts decide; times that name a bound are those of the
// protocol itself (a lease, an election), not of the machine.
//
// It promises: a measurement that could not be made is an error, never a
// figure; every process that it started has ended when Close returns.
package survival
