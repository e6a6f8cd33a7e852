package wire

// HeaderIdempotencyToken is the header of a request that makes it one with its
// repeats: a token of 16 to 64 characters, and in a repeat "; age=" and the
// milliseconds since the first one was sent. In the answer to GET /livez it has
// the value [TakesIdempotencyTokens] where the node heeds it in requests.
const (
	HeaderIdempotencyToken = "X-Idempotency-Token"
	TakesIdempotencyTokens = "taken"
)
