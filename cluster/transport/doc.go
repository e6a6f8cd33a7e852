// Package transport is the cluster port: one TCP port on which the nodes of a
// cluster replicate, call one another, and admit newcomers.
//
// The protocol of a connection is chosen by ALPN, and the protocol decides who
// may speak it:
//
//	raftkms-raft/1   Raft's own streams                 mutual TLS, and MayLead
//	h2               calls between nodes (HTTP/2)       mutual TLS
//	raftkms-join/1   one request to be admitted         no client certificate
//
// What it promises: TLS 1.3 only; a peer is a node of this cluster, proved by
// its certificate ([Identity]), and whoever dials node X talks to X or to
// nobody; a slow or silent caller holds up no one else, because handshakes run
// outside Accept, with a deadline, and a new one pushes out the oldest when too
// many are pending; every input is bounded before it is read.
//
// What it never does: decide who is a member. That is Raft's configuration, and
// whoever signs certificates. It never resumes TLS sessions, so that a
// withdrawn admission counts at the next connection.
package transport
