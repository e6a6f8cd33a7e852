package state

import (
	"slices"
	"strings"
)

// Grant is leave to use one key, given to a user or to an account. It never
// changes: it is made, and it ends.
type Grant struct {
	ID         string     `cbor:"1,keyasint"` // 64 lower-case hex digits
	KeyID      string     `cbor:"2,keyasint"`
	Grantee    string     `cbor:"3,keyasint"` // a user's id, or an account's
	ToAccount  bool       `cbor:"4,keyasint,omitempty"`
	Operations GrantedOps `cbor:"5,keyasint"`
	Issuer     string     `cbor:"6,keyasint"`           // the user who made it
	Retiring   string     `cbor:"7,keyasint,omitempty"` // a user or an account who may end it besides; empty: nobody
	Name       string     `cbor:"8,keyasint,omitempty"` // for people
	Created    int64      `cbor:"9,keyasint"`
	Sequence   uint64     `cbor:"10,keyasint"` // log index of its creation: its place in lists
}

// GrantedOps is a set of operations that a grant allows. Bits are never reused.
type GrantedOps uint64

// The operations.
const (
	GrantCreateDataKey GrantedOps = 1 << iota
	GrantCreateDataKeyWithoutPlaintext
	GrantEncryptDataKey
	GrantDecryptDataKey
	GrantDescribeKey
	GrantCreateGrant
	GrantRetireGrant
	GrantEncryptData
	GrantDecryptData
	GrantSign
	GrantVerify
	GrantGetPublicKey
	GrantGenerateMAC
	GrantVerifyMAC
	GrantReEncryptFrom
	GrantReEncryptTo
	GrantDeriveSharedSecret
	GrantCreateDataKeyPair
	GrantCreateDataKeyPairWithoutPlaintext

	GrantAll = GrantCreateDataKeyPairWithoutPlaintext<<1 - 1
)

// operationNames are the operations as grants spell them, in the order of their bits.
var operationNames = [...]string{
	"create-datakey", "create-datakey-without-plaintext", "encrypt-datakey", "decrypt-datakey", "describe-key",
	"create-grant", "retire-grant", "encrypt-data", "decrypt-data",
	"sign", "verify", "get-publickey", "generate-mac", "verify-mac", "re-encrypt-from", "re-encrypt-to",
	"derive-shared-secret", "create-datakey-pair", "create-datakey-pair-without-plaintext",
}

// Names returns the operations of the set by their names, in the order of their
// bits, in a new slice.
func (o GrantedOps) Names() []string {
	names := make([]string, 0, len(operationNames))
	for i, name := range operationNames {
		if o&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return names
}

// GrantedOp returns the operation of that name; 0: there is none.
func GrantedOp(name string) GrantedOps {
	if i := slices.Index(operationNames[:], name); i >= 0 {
		return 1 << i
	}
	return 0
}

// RetirableBy tells whether a user may retire the grant: as its issuer, as its
// retiring principal, or as its grantee when it says so; as oneself or, but for
// the issuer, as one of the account.
func (g *Grant) RetirableBy(userID, domainID string) bool {
	return g.Issuer == userID ||
		g.Retiring != "" && (g.Retiring == userID || g.Retiring == domainID) ||
		g.Operations&GrantRetireGrant != 0 && g.isTo(userID, domainID)
}

func (g *Grant) isTo(userID, domainID string) bool {
	if g.ToAccount {
		return g.Grantee == domainID
	}
	return g.Grantee == userID
}

// One index holds four kinds of list of grants, each in the order of their
// creation. Its keys are the kind, whose list it is, and the grant's place.
const (
	grantsOnKey     = 'k' // key
	grantsOnKeyTo   = 't' // key, grantee: what a use of the key asks
	grantsTo        = 'g' // grantee
	grantsRetirable = 'r' // principal

	grantsInProject = 'p' // project: no list, only how many there are
)

// The kinds of grantee. In front of an id they keep users and accounts apart.
const (
	toUser    = 'u'
	toAccount = 'a'
)

func appendGrantsOnKey(dst []byte, keyID string) []byte {
	return append(append(append(dst, grantsOnKey), keyID...), 0)
}

func appendGrantsOnKeyTo(dst []byte, keyID string, kind byte, grantee string) []byte {
	dst = append(append(append(dst, grantsOnKeyTo), keyID...), 0, kind)
	return append(append(dst, grantee...), 0)
}

func appendGrantsTo(dst []byte, kind byte, grantee string) []byte {
	return append(append(append(dst, grantsTo, kind), grantee...), 0)
}

func appendGrantsRetirable(dst []byte, principal string) []byte {
	return append(append(append(dst, grantsRetirable), principal...), 0)
}

func appendGrantsInProject(dst []byte, projectID string) []byte {
	return append(append(append(dst, grantsInProject), projectID...), 0)
}

func (g *Grant) granteeKind() byte {
	if g.ToAccount {
		return toAccount
	}
	return toUser
}

// lists returns the lists that the grant is on whoever exists.
func (g *Grant) lists() [3][]byte {
	return [3][]byte{
		appendGrantsOnKey(nil, g.KeyID),
		appendGrantsOnKeyTo(nil, g.KeyID, g.granteeKind(), g.Grantee),
		appendGrantsTo(nil, g.granteeKind(), g.Grantee),
	}
}

// retirers are who may retire a grant, each once.
func (g *Grant) retirers() []string {
	who := []string{g.Issuer}
	if g.Retiring != "" && !slices.Contains(who, g.Retiring) {
		who = append(who, g.Retiring)
	}
	if g.Operations&GrantRetireGrant != 0 && !slices.Contains(who, g.Grantee) {
		who = append(who, g.Grantee)
	}
	return who
}

// PutGrant writes a grant, once. How many there are on a key is in the key's
// record, which is the caller's to write.
func (x *Txn) PutGrant(g *Grant) {
	put(x, TableGrant, &x.grants, []byte(g.ID), g)
	for _, list := range g.lists() {
		x.grantPlaces.insert(appendPlace(list, g.Sequence), g)
	}
	who := g.retirers()
	for _, principal := range who {
		// Who sees it as one of an account does not see it a second time: a
		// user's list and the account's have no grant in common.
		if user, is := x.User(principal); is && slices.Contains(who, user.DomainID) {
			continue
		}
		list := appendGrantsRetirable(nil, principal)
		x.grantPlaces.insert(appendPlace(list, g.Sequence), g)
		x.countGrants(list, 1)
	}
}

// DeleteGrant removes a grant.
func (x *Txn) DeleteGrant(g *Grant) {
	remove(x, TableGrant, &x.grants, []byte(g.ID), g)
	for _, list := range g.lists() {
		x.grantPlaces.remove(appendPlace(list, g.Sequence))
	}
	for _, principal := range g.retirers() {
		list := appendGrantsRetirable(nil, principal)
		place := appendPlace(list, g.Sequence)
		if _, listed := x.grantPlaces.get(place); !listed {
			continue
		}
		x.grantPlaces.remove(place)
		x.countGrants(list, -1)
	}
}

// countGrants counts some more grants, or fewer, on a list.
func (x *Txn) countGrants(list []byte, by int) {
	n, _ := x.grantCounts.get(list)
	if n += by; n == 0 {
		x.grantCounts.remove(list)
		return
	}
	x.grantCounts.insert(list, n)
}

// Grant returns the grant of that id.
func (v *View) Grant(id string) (*Grant, bool) { return byID(&v.grants, id) }

// GrantFor returns the oldest grant on a key that allows one of the operations
// to a user, as oneself or as one of the account; nil: none does.
func (v *View) GrantFor(key *Key, userID, domainID string, ops GrantedOps) *Grant {
	if key.Grants == 0 || ops == 0 {
		return nil
	}
	if g := v.grantTo(key.ID, toUser, userID, ops); g != nil {
		return g
	}
	return v.grantTo(key.ID, toAccount, domainID, ops)
}

func (v *View) grantTo(keyID string, kind byte, grantee string, ops GrantedOps) *Grant {
	var space [keySpace]byte
	list := appendGrantsOnKeyTo(space[:0], keyID, kind, grantee)
	for _, g := range v.grantPlaces.under(list) {
		if g.Operations&ops != 0 {
			return g
		}
	}
	return nil
}

// Granted returns every operation that grants on a key allow a user, as
// oneself or as one of the account: the union of them all.
func (v *View) Granted(key *Key, userID, domainID string) (ops GrantedOps) {
	if key.Grants == 0 {
		return 0
	}
	return v.grantedTo(key.ID, toUser, userID) | v.grantedTo(key.ID, toAccount, domainID)
}

func (v *View) grantedTo(keyID string, kind byte, grantee string) (ops GrantedOps) {
	var space [keySpace]byte
	list := appendGrantsOnKeyTo(space[:0], keyID, kind, grantee)
	for _, g := range v.grantPlaces.under(list) {
		if ops |= g.Operations; ops == GrantAll {
			break
		}
	}
	return ops
}

// GrantsOn returns up to limit grants on a key, the oldest first, that were
// made after the one with Sequence after; 0 starts with the oldest. The slice
// is new.
func (v *View) GrantsOn(keyID string, after uint64, limit int) []*Grant {
	return v.grantPage(appendGrantsOnKey(nil, keyID), after, limit)
}

// GrantsToUser returns all grants of which a user is the grantee, in a new slice.
func (v *View) GrantsToUser(userID string) []*Grant {
	return v.grantPage(appendGrantsTo(nil, toUser, userID), 0, allGrants)
}

// GrantsToAccount returns all grants of which an account is the grantee, in a
// new slice.
func (v *View) GrantsToAccount(domainID string) []*Grant {
	return v.grantPage(appendGrantsTo(nil, toAccount, domainID), 0, allGrants)
}

const allGrants = int(^uint(0) >> 1)

// RetirableGrants is [View.GrantsOn] for the grants that a user may retire (see
// [Grant.RetirableBy]), on whatever key.
func (v *View) RetirableGrants(userID, domainID string, after uint64, limit int) []*Grant {
	mine := v.grantPage(appendGrantsRetirable(nil, userID), after, limit)
	ours := v.grantPage(appendGrantsRetirable(nil, domainID), after, limit)
	page := make([]*Grant, 0, min(limit, len(mine)+len(ours)))
	for len(page) < cap(page) {
		if len(ours) == 0 || len(mine) > 0 && mine[0].Sequence < ours[0].Sequence {
			page, mine = append(page, mine[0]), mine[1:]
		} else {
			page, ours = append(page, ours[0]), ours[1:]
		}
	}
	return page
}

// RetirableCount returns how many grants a user may retire.
func (v *View) RetirableCount(userID, domainID string) int {
	mine, _ := v.grantCounts.get(appendGrantsRetirable(nil, userID))
	ours, _ := v.grantCounts.get(appendGrantsRetirable(nil, domainID))
	return mine + ours
}

func (v *View) grantPage(list []byte, after uint64, limit int) []*Grant {
	if after == ^uint64(0) {
		return nil
	}
	var page []*Grant
	for place, g := range v.grantPlaces.up(appendPlace(list, after+1)) {
		if len(page) >= limit || len(place) != len(list)+8 || !strings.HasPrefix(place, string(list)) {
			break
		}
		page = append(page, g)
	}
	return page
}

// GrantCount returns how many grants the keys of a project have together.
func (v *View) GrantCount(projectID string) int {
	n, _ := v.grantCounts.get(appendGrantsInProject(nil, projectID))
	return n
}

// moveGrants keeps the counts of grants, the most of a key and all of a
// project, in step with a key; nil: there is none.
func (x *Txn) moveGrants(from, to *Key) {
	var was, is uint32
	projectID := ""
	if from != nil {
		was, projectID = from.Grants, from.ProjectID
	}
	if to != nil {
		is, projectID = to.Grants, to.ProjectID
	}
	x.moveLoad(projectID, loadGrants, int(was), int(is))
	if was != is {
		x.countGrants(appendGrantsInProject(nil, projectID), int(is)-int(was))
	}
}
