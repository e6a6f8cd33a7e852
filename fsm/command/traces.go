package command

// TypePublishCheckpoint is the only kind of write about traces.
const TypePublishCheckpoint Type = 160

var traceRows = []row{
	{TypePublishCheckpoint, "publish-checkpoint", 1, body[PublishCheckpoint]},
}

// PublishCheckpoint has the cluster remember how far a node's trace log goes,
// and what it holds, in the node's signed words.
type PublishCheckpoint struct {
	NodeID string `cbor:"1,keyasint"`
	From   uint64 `cbor:"2,keyasint"` // first sequence that the tree covers
	Size   uint64 `cbor:"3,keyasint"` // lines that it covers
	Key    string `cbor:"4,keyasint"` // verifier key of the note
	Note   []byte `cbor:"5,keyasint"` // the signed note
}

// Type implements [Body].
func (PublishCheckpoint) Type() Type { return TypePublishCheckpoint }
