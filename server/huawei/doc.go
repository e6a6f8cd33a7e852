// Package huawei is the Huawei-style dialect: it decodes requests, calls
// server/kms, and encodes what comes back, with the exact types, encodings and
// error codes that unmodified SDKs of that family expect.
//
// One generic handler ([Endpoint.Serve]) does for every operation what is the
// same for all of them: identity, decoding, the call, the mapping of errors,
// encoding, wiping. An operation is its request type, its reply type and a few
// lines between them (keys.go, datakeys.go, data.go). It holds no rule of the
// domain: what it refuses by itself are values that its own wire format does
// not allow (parameters.go).
//
// # What is wiped
//
// The request's body when it has been answered, decoded plaintexts when the
// call returns, and the response's body once it has been handed to the
// connection. What cannot be wiped from here: the connection's read and write
// buffers, which fasthttp and crypto/tls use again and thereby overwrite.
//
// # Choices where the reference leaves one
//
//   - list-keys returns keys of every spec unless one is named, newest first,
//     1000 a page unless less is asked for, and never more.
//   - A refused permission is KMS.0306; a value that breaks a rule which has no
//     code of its own (a plaintext of 4097 bytes) is KMS.0308.
//   - A node that cannot answer now says 503 KMS.0104 with Retry-After; a write
//     of which nobody knows whether it happened is 500 KMS.0103, and a trace
//     that could not be written is 503 KMS.0102.
//   - encryption_context and additional_authenticated_data are the same to
//     decrypting; a request may have only one of them. A context is a string,
//     or an object of strings, and the two are never equal.
//   - A name given twice in a request is malformed JSON.
package huawei
