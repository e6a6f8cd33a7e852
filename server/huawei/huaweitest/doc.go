// Package huaweitest drives the Huawei-style dialect with the vendor's SDK for
// Go, unmodified: one step for every method of its KMS client. Only tests
// import it.
//
// [Run] sends successive calls to successive nodes by way of a [Gateway], which
// also shows every call as it went over the wire. What is expected is what the
// reference says, with the types that the SDK has; so a reply with a number
// where the SDK holds a string fails in the SDK, as it would for its users.
package huaweitest
