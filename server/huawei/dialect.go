package huawei

import (
	"context"
	"reflect"
	"sync"

	"github.com/valyala/fasthttp"

	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/state"
	"github.com/raftkms/raftkms/hsm/envelope"
	"github.com/raftkms/raftkms/server/iam"
	"github.com/raftkms/raftkms/server/kms"
	"github.com/raftkms/raftkms/server/wire"
)

// Service is what the dialect needs of [kms.Service].
type Service interface {
	Run(ctx context.Context, in kms.Incoming, do func(ctx context.Context, c *kms.Call) error) error
	CreateKey(ctx context.Context, c *kms.Call, req kms.CreateKeyRequest) (*state.Key, error)
	DescribeKey(ctx context.Context, c *kms.Call, ref string) (*state.Key, error)
	EnableKey(ctx context.Context, c *kms.Call, ref string) (*state.Key, error)
	DisableKey(ctx context.Context, c *kms.Call, ref string) (*state.Key, error)
	ListKeys(ctx context.Context, c *kms.Call, req kms.ListKeysRequest) (kms.KeyPage, error)
	CreateDataKey(ctx context.Context, c *kms.Call, req kms.CreateDataKeyRequest) (*kms.Sealed, error)
	CreateDataKeys(ctx context.Context, c *kms.Call, req kms.CreateDataKeysRequest) (*kms.SealedKeys, error)
	EncryptDataKey(ctx context.Context, c *kms.Call, req kms.EncryptRequest) (*kms.Sealed, error)
	DecryptDataKey(ctx context.Context, c *kms.Call, req kms.DecryptRequest) (*kms.Sealed, error)
	EncryptData(ctx context.Context, c *kms.Call, req kms.EncryptRequest) (*kms.Sealed, error)
	DecryptData(ctx context.Context, c *kms.Call, req kms.DecryptRequest) (*kms.Sealed, error)
	GenerateRandom(ctx context.Context, c *kms.Call, bytes int) ([]byte, error)
	SearchTraces(ctx context.Context, c *kms.Call, q kms.TraceQuery) (kms.TracePage, error)
	FollowTraces(ctx context.Context, c *kms.Call, q kms.TraceQuery) (kms.TracePage, error)

	GetParametersForImport(ctx context.Context, c *kms.Call, ref, algorithm string) (*kms.ImportParameters, error)
	ImportKeyMaterial(ctx context.Context, c *kms.Call, req kms.ImportRequest) error
	DeleteKeyMaterial(ctx context.Context, c *kms.Call, ref string) error

	GetPublicKey(ctx context.Context, c *kms.Call, ref string, version uint32) (*state.Key, []byte, error)
	Sign(ctx context.Context, c *kms.Call, req kms.SignRequest) (keyID string, signature []byte, err error)
	Verify(ctx context.Context, c *kms.Call, req kms.SignRequest) (keyID string, valid bool, err error)
	GenerateMAC(ctx context.Context, c *kms.Call, req kms.MACRequest) (keyID string, mac []byte, err error)
	VerifyMAC(ctx context.Context, c *kms.Call, req kms.MACRequest) (keyID string, valid bool, err error)
	ReEncrypt(ctx context.Context, c *kms.Call, req kms.ReEncryptRequest) (from, to *kms.Sealed, err error)
	CreateDataKeyPair(ctx context.Context, c *kms.Call, ref, spec string, about envelope.Context, plaintext bool) (*kms.DataKeyPair, error)
	DeriveSharedSecret(ctx context.Context, c *kms.Call, ref string, version uint32, peer []byte) (keyID string, secret []byte, err error)

	RenameKey(ctx context.Context, c *kms.Call, ref, name string) (*state.Key, error)
	UpdateDescription(ctx context.Context, c *kms.Call, ref, description string) (*state.Key, error)
	ScheduleDeletion(ctx context.Context, c *kms.Call, ref string, days int) (*state.Key, error)
	CancelDeletion(ctx context.Context, c *kms.Call, ref string) (*state.Key, error)
	ProtectKey(ctx context.Context, c *kms.Call, ref string, on bool) (*state.Key, error)
	CreateAlias(ctx context.Context, c *kms.Call, ref, name string) (*state.Alias, error)
	AssociateAlias(ctx context.Context, c *kms.Call, name, ref string) (*state.Alias, error)
	DeleteAliases(ctx context.Context, c *kms.Call, ref string, names []string) error
	ListAliases(ctx context.Context, c *kms.Call, req kms.ListAliasesRequest) (kms.AliasPage, error)
	EnableRotation(ctx context.Context, c *kms.Call, ref string, days uint32) error
	SetRotationInterval(ctx context.Context, c *kms.Call, ref string, days uint32) error
	DisableRotation(ctx context.Context, c *kms.Call, ref string) error
	RotationStatus(ctx context.Context, c *kms.Call, ref string) (*state.Key, error)
	RotateKey(ctx context.Context, c *kms.Call, ref string) (uint32, error)
	ListVersions(ctx context.Context, c *kms.Call, req kms.ListVersionsRequest) (kms.VersionPage, error)

	CreateGrant(ctx context.Context, c *kms.Call, req kms.CreateGrantRequest) (grantID string, err error)
	RevokeGrant(ctx context.Context, c *kms.Call, ref, grantID string) error
	RetireGrant(ctx context.Context, c *kms.Call, ref, grantID string) error
	ListGrants(ctx context.Context, c *kms.Call, ref string, after uint64, limit int) (kms.GrantPage, error)
	ListRetirableGrants(ctx context.Context, c *kms.Call, after uint64, limit int) (kms.GrantPage, error)

	ListTags(ctx context.Context, c *kms.Call, ref string) ([]state.Tag, error)
	SetTags(ctx context.Context, c *kms.Call, ref string, tags []state.Tag, most int) error
	RemoveTags(ctx context.Context, c *kms.Call, ref string, names []string, all bool) error
	ProjectTags(ctx context.Context, c *kms.Call) ([]state.TagValues, error)
	FindTagged(ctx context.Context, c *kms.Call, req kms.FindTaggedRequest) ([]*state.Key, int, error)
	CountKeys(ctx context.Context, c *kms.Call) (int, error)
	Quotas(ctx context.Context, c *kms.Call, tags int) (kms.Usage, error)
	SetQuotas(ctx context.Context, c *kms.Call, body command.SetQuotas, tags int) (kms.Usage, error)
}

// Dialect answers requests. It is safe for concurrent use.
type Dialect struct {
	service Service
	door    *iam.Door
	pool    buffers
	calls   sync.Pool // of *serving
	// elsewhere answers what this node cannot; nil: nobody.
	elsewhere Elsewhere
}

// New returns a dialect over a service, for requests that the door lets in.
func New(service Service, door *iam.Door) *Dialect {
	d := &Dialect{service: service, door: door}
	d.calls.New = func() any { return newServing(d) }
	return d
}

// Endpoint is one operation of the dialect.
type Endpoint struct {
	// Operation is what it is called in traces, and the permission it needs.
	Operation kms.Operation

	// kinds and members are the codes of this operation where they are not
	// those of errors.go: for what the service refuses, and for members of the
	// request.
	kinds   map[kms.Kind]string
	members map[string]string
	// status is that of a success; 0: 200.
	status int
	// request and reply are the types of what is decoded and encoded.
	request, reply reflect.Type

	// perform decodes the request of a caller who is known, does the operation,
	// and appends the reply to dst.
	perform func(ctx context.Context, x *exchange, rc *fasthttp.RequestCtx, dst []byte) ([]byte, error)
}

// Path is what the path of a request names, decoded; empty where it names none.
type Path struct {
	Project string
	Key     string // a key's id
	Tracker string // a tracker of the trace service
	Tag     string // the key of a tag
}

// exchange is what an operation has to work with.
type exchange struct {
	Service
	call   *kms.Call
	caller iam.Principal
	path   Path
	agent  string // User-Agent
}

// region is the region of the state that the call is decided from.
func (x *exchange) region() string { return x.call.Root.Cluster().Region }

// carried is a request as it was decoded, and its reply. It is used again, emptied,
// so that neither is allocated for each call; no operation keeps it.
type carried[Q, A any] struct {
	request Q
	reply   A
}

// endpoint makes an Endpoint of an operation: Q is the request's type, A the
// reply's.
func endpoint[Q any, R interface {
	*Q
	wire.Request
}, A wire.Reply](op kms.Operation, do func(ctx context.Context, x *exchange, req *Q) (A, error)) Endpoint {
	pool := sync.Pool{New: func() any { return new(carried[Q, A]) }}
	perform := func(ctx context.Context, x *exchange, rc *fasthttp.RequestCtx, dst []byte) (_ []byte, err error) {
		c := pool.Get().(*carried[Q, A])
		defer func() {
			*c = carried[Q, A]{}
			pool.Put(c)
		}()
		req := R(&c.request)
		if err := decode(rc, req); err != nil {
			return dst, err
		}
		if err := checkSequence(req.ClientSequence()); err != nil {
			return dst, err
		}
		if c.reply, err = do(ctx, x, &c.request); err != nil {
			return dst, err
		}
		dst = c.reply.AppendJSON(dst)
		if secret, ok := any(&c.reply).(interface{ Wipe() }); ok {
			secret.Wipe()
		}
		return dst, nil
	}
	return Endpoint{Operation: op, request: reflect.TypeFor[Q](), reply: reflect.TypeFor[A](), perform: perform}
}

// with sets the codes of an operation that differ from those of all.
func (e Endpoint) with(kinds map[kms.Kind]string, members map[string]string) Endpoint {
	e.kinds, e.members = kinds, members
	return e
}

// answering sets the status of a success. With 204 there is no body.
func (e Endpoint) answering(status int) Endpoint {
	e.status = status
	return e
}

func (e *Endpoint) success() int {
	if e.status == 0 {
		return fasthttp.StatusOK
	}
	return e.status
}

// decode reads a request: its body, and with GET the arguments of its query,
// which name the same members.
func decode(rc *fasthttp.RequestCtx, into wire.Request) error {
	if err := wire.Decode(rc.Request.Body(), into); err != nil {
		return err
	}
	if !rc.IsGet() {
		return nil
	}
	return wire.DecodeArguments(rc.QueryArgs().All(), into)
}
