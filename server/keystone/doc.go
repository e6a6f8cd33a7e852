// Package keystone is the identity service as clients of Keystone v3 (and of
// the Huawei family's) see it, as far as they need it to use keys: tokens by
// password or by another token, the catalog, and the look-ups that they do
// before their first call.
//
// Every call goes through [kms.Service.Run], so it is decided from current
// state and traced. Who a caller is, package iam says; what they may, the
// state machine.
//
// # What a refusal tells
//
// Whether it was the account, the user, the password, a lock or a disabled
// user that stood in the way of a token: all of these are one answer, byte for
// byte, after the same work. A project or domain that a token is wanted for
// and that is not the user's account's is that answer too.
package keystone
