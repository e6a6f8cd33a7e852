// Package client is the Go client of raftkms: it signs calls with an access
// key, spreads them over the nodes of a cluster, and tries another node when
// one cannot answer.
//
//	c, err := client.New(client.Config{
//		Endpoints: []string{"https://kms-1:8440", "https://kms-2:8440", "https://kms-3:8440"},
//		CA:        pool,
//		AccessKey: accessKey, SecretKey: secretKey, ProjectID: project,
//	})
//	key, err := c.CreateDataKey(ctx, keyID, client.DataKeyOptions{})
//
// A key is named by its id or by alias/NAME. Besides data keys there are calls
// for every operation of the service: text of up to 4096 bytes
// ([Client.EncryptData]), signatures ([Client.Sign]), MACs
// ([Client.GenerateMAC]), shared secrets ([Client.DeriveSharedSecret]), imports
// ([Client.ImportSecret]) and the administration of keys. [Client.Signer],
// [Client.Decrypter] and [Client.KeyExchanger] make keys of the standard library
// of those of the service.
//
// # Retries
//
// A call is tried again, on the next node, when the node could not be reached,
// or said that it cannot serve now (503) or that the request has not arrived as a
// whole (408): then nothing has happened. It is also
// tried again when the connection broke after the request was sent and doing
// it twice does no harm. A change goes with an idempotency token, by which the
// service knows a repeat from a new request, so it is tried again, too, where the
// nodes heed tokens; else, and where no repeat is answered in time or one is
// refused, the error wraps [ErrOutcomeUnknown]. Changes of the identity service
// have no tokens.
// Every other refusal is returned at once as an [*Error], but for one: where a
// node says that its clock is far from the caller's, one other node is asked,
// since it may be the first one's that is wrong.
//
// A node that says after how long it may be asked again (Retry-After, up to a
// minute) is not asked before that. Where all nodes say so the call waits for the
// first of them, and ends at once if its deadline comes first.
//
// # Secrets
//
// Data keys, plaintexts, private keys and shared secrets are returned as byte
// slices that the caller wipes, and what was given stays the caller's.
// The client keeps no copy; what the JSON decoder and TLS held is left to the
// garbage collector.
package client
