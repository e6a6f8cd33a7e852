package iam

// ClaimedKey is the access key that a request says it is signed with, whether
// that is true or not; empty where it says none. It is for the trace of a
// refusal.
func ClaimedKey(r *Request) string {
	sig, reason := signatureOf(r)
	if reason != "" {
		return ""
	}
	return string(sig.accessKey)
}
