// Package wire holds the request and reply types that the server shares with
// its clients: the Huawei-style dialect's JSON (huawei.go) and the local admin
// socket's (admin.go). It has no dependencies and no behaviour beyond encoding.
package wire
