// Package iam says who is asking: by AK/SK request signatures in the three
// layouts that clients of the Huawei-style API use, by tokens, client
// certificates and OIDC bearer tokens; and how passwords are kept.
//
// What it promises:
//   - A [Principal] is returned only for a request whose method, path, query,
//     body and signed headers are those that the holder of the secret key
//     signed at most [Window] ago, and only while key, user and account are
//     enabled in the state that the caller passes.
//   - Signatures are compared in constant time. An unknown access key and a wrong
//     signature are one refusal, after the same work.
//   - Secret keys are in the clear only in locked memory and, for the time of
//     one check, on the stack, where they are wiped.
//   - Everything is bounded before it is parsed; nothing of a request is kept.
//   - A check and the permission after it take at most 4 µs of CPU and two
//     allocations (BenchmarkDoor, TestTheDoorAllocatesTwiceAtMost).
//
// It never decides what a principal may do (fsm/policy), never reads the state
// by itself, and never logs.
package iam
