package keystone

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"encoding/hex"
	"strconv"
	"time"

	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/server/kms"
	"github.com/raftkms/raftkms/server/wire"
)

// The administration of accounts, and of the users, groups, policies, access
// keys and projects of one. All but the operations on accounts are about the
// caller's own: what is another's is not found, as what does not exist.
var (
	ListAccounts    = Endpoint{kms.OpListAccounts, 200, admin(listAccounts)}
	ShowAccount     = Endpoint{kms.OpShowAccount, 200, admin(showAccount)}
	CreateAccount   = Endpoint{kms.OpCreateAccount, 201, admin(createAccount)}
	UpdateAccount   = Endpoint{kms.OpUpdateAccount, 200, admin(updateAccount)}
	DeleteAccount   = Endpoint{kms.OpDeleteAccount, 204, admin(deleteAccount)}
	ShowProject     = Endpoint{kms.OpShowProject, 200, admin(showProject)}
	CreateProject   = Endpoint{kms.OpCreateProject, 201, admin(createProject)}
	UpdateProject   = Endpoint{kms.OpUpdateProject, 200, admin(updateProject)}
	DeleteProject   = Endpoint{kms.OpDeleteProject, 204, admin(deleteProject)}
	ListUsers       = Endpoint{kms.OpListUsers, 200, admin(listUsers)}
	ShowUser        = Endpoint{kms.OpShowUser, 200, admin(showUser)}
	CreateUser      = Endpoint{kms.OpCreateUser, 201, admin(createUser)}
	UpdateUser      = Endpoint{kms.OpUpdateUser, 200, admin(updateUser)}
	DeleteUser      = Endpoint{kms.OpDeleteUser, 204, admin(deleteUser)}
	SetPassword     = Endpoint{kms.OpSetPassword, 204, admin(setPassword)}
	UnlockUser      = Endpoint{kms.OpUnlockUser, 204, admin(unlockUser)}
	ListGroups      = Endpoint{kms.OpListGroups, 200, admin(listGroups)}
	ListGroupsOf    = Endpoint{kms.OpListGroups, 200, admin(listGroupsOf)}
	ShowGroup       = Endpoint{kms.OpShowGroup, 200, admin(showGroup)}
	CreateGroup     = Endpoint{kms.OpCreateGroup, 201, admin(createGroup)}
	UpdateGroup     = Endpoint{kms.OpUpdateGroup, 200, admin(updateGroup)}
	DeleteGroup     = Endpoint{kms.OpDeleteGroup, 204, admin(deleteGroup)}
	ListMembers     = Endpoint{kms.OpListUsers, 200, admin(listMembers)}
	CheckMember     = Endpoint{kms.OpListUsers, 204, admin(checkMember)}
	AddMember       = Endpoint{kms.OpAddMember, 204, admin(addMember)}
	RemoveMember    = Endpoint{kms.OpRemoveMember, 204, admin(removeMember)}
	ListPolicies    = Endpoint{kms.OpListPolicies, 200, admin(listPolicies)}
	ShowPolicy      = Endpoint{kms.OpShowPolicy, 200, admin(showPolicy)}
	CreatePolicy    = Endpoint{kms.OpCreatePolicy, 201, admin(createPolicy)}
	UpdatePolicy    = Endpoint{kms.OpUpdatePolicy, 200, admin(updatePolicy)}
	DeletePolicy    = Endpoint{kms.OpDeletePolicy, 200, admin(deletePolicy)}
	ListAssignments = Endpoint{kms.OpListAttachments, 200, admin(listAssignments)}
	ListAttached    = Endpoint{kms.OpListAttachments, 200, admin(listAttached)}
	CheckAttached   = Endpoint{kms.OpListAttachments, 204, admin(checkAttached)}
	AttachPolicy    = Endpoint{kms.OpAttachPolicy, 204, admin(attachPolicy)}
	DetachPolicy    = Endpoint{kms.OpDetachPolicy, 204, admin(detachPolicy)}
	Explain         = Endpoint{kms.OpExplain, 200, admin(explain)}
	ListAccessKeys  = Endpoint{kms.OpListAccessKeys, 200, admin(listAccessKeys)}
	ShowAccessKey   = Endpoint{kms.OpShowAccessKey, 200, admin(showAccessKey)}
	CreateAccessKey = Endpoint{kms.OpCreateAccessKey, 201, admin(createAccessKey)}
	UpdateAccessKey = Endpoint{kms.OpUpdateAccessKey, 200, admin(updateAccessKey)}
	DeleteAccessKey = Endpoint{kms.OpDeleteAccessKey, 204, admin(deleteAccessKey)}
)

// pageSize is how many records one answer lists at most.
const pageSize = 1000

func newID() string {
	var raw [16]byte
	rand.Read(raw[:])
	return hex.EncodeToString(raw[:])
}

func newText(n int) string {
	raw := make([]byte, n)
	rand.Read(raw)
	return base32.StdEncoding.EncodeToString(raw)[:n]
}

// admin has an operation done for those who may do it: nobody else is told
// anything, not even what is wrong with their request.
func admin(do func(ctx context.Context, x *exchange) (any, error)) func(ctx context.Context, x *exchange) (any, error) {
	return func(ctx context.Context, x *exchange) (any, error) {
		if _, err := x.identify(ctx); err != nil {
			return nil, err
		}
		var err error
		if x.account, err = x.Service.ReadAccount(x.call); err != nil {
			return nil, err
		}
		return do(ctx, x)
	}
}

// change proposes a change.
func (x *exchange) change(ctx context.Context, body command.Body, id, name string, meaning ...string) error {
	return x.Service.Administer(ctx, x.call, body, id, name, append([]string{id, name}, meaning...)...)
}

// query is a value of the query.
func (x *exchange) query(name string) string { return string(x.rc.QueryArgs().Peek(name)) }

// page answers with one page of a list: what follows marker, by which records
// are ordered, and where the next page begins. list returns the records after
// one, find the one of a name, by which a request may ask for it alone.
func page[T any](x *exchange, member string, list func(after string, limit int) []T, find func(name string) (T, bool), key func(T) string, show func(T) any) (map[string]any, error) {
	limit := pageSize
	if text := x.query("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > pageSize {
			return nil, &refusal{400, "IAM.0011", "The limit is not a number from 1 to " + strconv.Itoa(pageSize) + "."}
		}
		limit = n
	}
	var records []T
	if name := x.query("name"); name != "" && find != nil {
		if record, ok := find(name); ok {
			records = append(records, record)
		}
	} else {
		records = list(x.query("marker"), limit)
	}
	shown := make([]any, len(records))
	for i, record := range records {
		shown[i] = show(record)
	}
	links := wire.PageLinks{Self: x.URL + string(x.rc.Path())}
	if len(records) == limit && (find == nil || x.query("name") == "") {
		links.Next = x.following(key(records[limit-1]))
	}
	return map[string]any{member: shown, "links": links}, nil
}

// following is where the page after a place begins.
func (x *exchange) following(place string) *string {
	query := x.rc.QueryArgs()
	query.Set("marker", place)
	next := x.URL + string(x.rc.Path()) + "?" + query.String()
	return &next
}

// set takes what a request gives.
func set[T any](to, given *T) {
	if given != nil {
		*to = *given
	}
}

// setEnabled is set for what takes effect at once, which traces tell.
func (x *exchange) setEnabled(to, given *bool) {
	set(to, given)
	if given != nil {
		x.call.Asked().Flag("enabled", *given)
	}
}

func isoTime(ms int64) string { return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000000Z") }
