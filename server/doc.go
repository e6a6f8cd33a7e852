// Package server is one node of raftkms: it joins the three rooms that do not
// know one another (cluster, fsm, hsm), founds or joins a cluster, and answers
// on three ports and a local admin socket.
//
// The way of a request: front end (frontend.go, routes.go) → dialect
// (server/huawei) → identity (server/iam) → service (server/kms) → state and
// module → trace (server/audit) → dialect → out. ARCHITECTURE.md walks it.
package server
