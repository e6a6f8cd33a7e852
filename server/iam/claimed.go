package iam

// accessKeySize is the length of every access key.
const accessKeySize = 20

// ClaimedKey is the access key that a request says it is signed with, whether
// that is true or not; empty where it says none. It is for the trace of a
// refusal, so what has not the form of an access key is none: who mixes up the
// two halves of a credential has put the secret key there.
func ClaimedKey(r *Request) string {
	sig, reason := signatureOf(r)
	if reason != "" || len(sig.accessKey) != accessKeySize || !only(sig.accessKey, accessKey) {
		return ""
	}
	return string(sig.accessKey)
}
