// Package scripts holds what surrounds the programs (install steps, service
// units) and the tests of the source text itself: which room may import which,
// that versions do not change unnoticed, and that files stay readable.
package scripts
