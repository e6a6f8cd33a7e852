// Package kms is the dialect-free service: every operation of raftkms once.
// Each one authorises, checks state, uses the HSM, proposes, and is traced.
//
// A dialect can reach it only through [Service.Run], which gives it a [Call]:
// the state that the request may see, loaded after it arrived, and the trace
// that is on disk before Run returns. So no dialect can forget either.
//
// It never parses a request and never writes a response.
package kms
