// Package hsm is the crypto boundary of raftkms: the page module.go says all
// that is ever asked of a hardware security module (HSM).
//
// What it promises: the material of a customer master key (CMK) is made inside
// a module, leaves it only wrapped under one of the module's roots, and is
// accepted again only when its record MAC holds. What it never does: it knows
// nothing of replication, of who is asking, or of any API dialect.
//
// Two implementations live below: [github.com/raftkms/raftkms/hsm/soft], the
// embedded default, and [github.com/raftkms/raftkms/hsm/pkcs11] for real
// devices (and the only cgo of the tree). Both pass the one conformance suite
// of package hsmtest.
package hsm
