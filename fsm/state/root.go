package state

import "github.com/raftkms/raftkms/fsm/policy"

// Root is the whole replicated state after some entry of the log. It never
// changes; the embedded [View] is how it is read.
type Root struct{ View }

// View reads a state: a [Root], or what a [Txn] has made of one so far.
type View struct {
	cluster *Cluster // nil before bootstrap
	clock   *Clock   // nil before the first bootstrap command

	domains    table[*Domain]
	projects   table[*Project]
	users      table[*User]
	accessKeys table[*AccessKey]
	keys       table[*Key]
	versions   table[*Version]
	joinTokens table[*JoinToken]
	nodes      table[*Node]
	replies    table[*Reply]
	aliases    table[*Alias] // project, name → alias
	tombstones table[*Tombstone]
	erasures   table[*Erasure]
	traceLogs  table[*TraceLog]
	uses       table[*Use]     // key, version → use
	discards   table[*Discard] // key, index → discard
	groups     table[*Group]
	policies   table[*Policy]
	grants     table[*Grant]

	revoked   table[*RevokedToken]
	accesses  table[*Access]
	providers table[*Provider]
	bindings  table[*Binding] // provider, name → binding

	authenticators table[*Authenticator] // by user

	// Indexes: made from the records, neither hashed nor stored.
	domainNames  table[string] // name → id
	projectNames table[string] // domain, name → id
	userNames    table[string] // domain, name → id
	groupNames   table[string] // domain, name → id
	policyNames  table[string] // domain, name → id
	userKeys     table[string] // user, access key → access key
	members      table[string] // group, user → user
	compiled     table[*policy.Policy]
	keyNames     table[string]    // project, name or alias → id
	keyOrder     table[string]    // project, sequence → id
	keyCounts    table[int]       // project → keys that count against its quota
	keyAliases   table[string]    // key, name → name
	keyLists     table[string]    // project, state, spec, sequence → id
	listCounts   table[int]       // project, state, spec → keys
	blockCounts  table[int]       // project, state, spec, block of sequences → keys
	timers       table[string]    // when, key → key
	deletions    table[string]    // index of the deleting or discarding entry, key → key
	tagPlaces    table[listBlock] // see tags.go
	tagCounts    table[int]
	nameBlocks   table[*nameBlock] // see names.go
	loads        table[int]
	grantPlaces  table[*Grant] // see grants.go
	grantCounts  table[int]
	replyOrder   table[string] // first, index → proposal id
	replyCount   int
	revokedOrder table[string] // expiry, id → id
	revokedCount int
	fences       fences
	people       *people // see people.go

	sum     sum
	applied uint64
}

// NewRoot returns the state of a cluster in which nothing has happened.
func NewRoot() *Root {
	return &Root{View{
		domains:        newTable[*Domain](),
		projects:       newTable[*Project](),
		users:          newTable[*User](),
		accessKeys:     newTable[*AccessKey](),
		keys:           newTable[*Key](),
		versions:       newTable[*Version](),
		joinTokens:     newTable[*JoinToken](),
		nodes:          newTable[*Node](),
		replies:        newTable[*Reply](),
		aliases:        newTable[*Alias](),
		tombstones:     newTable[*Tombstone](),
		erasures:       newTable[*Erasure](),
		traceLogs:      newTable[*TraceLog](),
		uses:           newTable[*Use](),
		discards:       newTable[*Discard](),
		groups:         newTable[*Group](),
		policies:       newTable[*Policy](),
		grants:         newTable[*Grant](),
		revoked:        newTable[*RevokedToken](),
		accesses:       newTable[*Access](),
		providers:      newTable[*Provider](),
		bindings:       newTable[*Binding](),
		authenticators: newTable[*Authenticator](),
		revokedOrder:   newTable[string](),
		domainNames:    newTable[string](),
		projectNames:   newTable[string](),
		userNames:      newTable[string](),
		groupNames:     newTable[string](),
		policyNames:    newTable[string](),
		userKeys:       newTable[string](),
		members:        newTable[string](),
		compiled:       newTable[*policy.Policy](),
		keyNames:       newTable[string](),
		keyOrder:       newTable[string](),
		keyCounts:      newTable[int](),
		keyAliases:     newTable[string](),
		keyLists:       newTable[string](),
		listCounts:     newTable[int](),
		blockCounts:    newTable[int](),
		timers:         newTable[string](),
		deletions:      newTable[string](),
		tagPlaces:      newTable[listBlock](),
		tagCounts:      newTable[int](),
		nameBlocks:     newTable[*nameBlock](),
		loads:          newTable[int](),
		grantPlaces:    newTable[*Grant](),
		grantCounts:    newTable[int](),
		replyOrder:     newTable[string](),
		people:         new(people),
		fences:         fences{by: newTable[uint64](), age: newTable[string]()},
	}}
}

// Txn starts a transaction on r, which stays as it is.
func (r *Root) Txn() *Txn { return &Txn{View: r.View} }

// Commit returns the state that the transaction has made. The Txn must not be
// used again.
func (x *Txn) Commit() *Root {
	v := &x.View
	v.domains.commit()
	v.projects.commit()
	v.users.commit()
	v.accessKeys.commit()
	v.keys.commit()
	v.versions.commit()
	v.joinTokens.commit()
	v.nodes.commit()
	v.replies.commit()
	v.aliases.commit()
	v.tombstones.commit()
	v.erasures.commit()
	v.traceLogs.commit()
	v.uses.commit()
	v.discards.commit()
	v.groups.commit()
	v.policies.commit()
	v.grants.commit()
	v.revoked.commit()
	v.accesses.commit()
	v.providers.commit()
	v.bindings.commit()
	v.authenticators.commit()
	v.revokedOrder.commit()
	v.domainNames.commit()
	v.projectNames.commit()
	v.userNames.commit()
	v.groupNames.commit()
	v.policyNames.commit()
	v.userKeys.commit()
	v.members.commit()
	v.compiled.commit()
	v.keyNames.commit()
	v.keyOrder.commit()
	v.keyCounts.commit()
	v.keyAliases.commit()
	v.keyLists.commit()
	v.listCounts.commit()
	v.blockCounts.commit()
	v.timers.commit()
	v.deletions.commit()
	v.tagPlaces.commit()
	v.tagCounts.commit()
	v.nameBlocks.commit()
	v.loads.commit()
	v.grantPlaces.commit()
	v.grantCounts.commit()
	v.replyOrder.commit()
	v.fences.by.commit()
	v.fences.age.commit()
	return &Root{*v}
}
