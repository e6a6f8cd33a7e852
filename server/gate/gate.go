// Package gate bounds what one address, and one user, may ask of a node.
//
// What it promises:
//   - Memory is bounded whoever asks: addresses and users are watched in caches
//     of a fixed size, connections are counted only while they are open. An IPv6
//     client is its /64, since it can choose the rest.
//   - Who has shown a good credential is never stopped by what others of the
//     same address have failed at: behind a balancer that names no clients all of
//     them are one address. Only passwords, which cost a hash each to check, are
//     not tried any more for an address that has failed too often.
//   - Nothing here decides who anybody is, or what they may do.
//
// What is counted is of this node: a client of three nodes has three times the rate.
package gate

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/time/rate"
)

// Config is what a gate lets through. Zero is what the sentence says.
type Config struct {
	// Connections that one address may hold open; 0: 4096.
	Connections int
	// Failures a minute of one address, logins and credentials together, that
	// are treated like any other request; ten times as many at once are. 0: 60.
	Failures int
	// AddressRate is the requests a second of one address; 0: no limit.
	AddressRate int
	// UserRate is the requests a second of one user; 0: no limit.
	UserRate int
	// Calls that are worked on at once, uses of keys and all others apart, see
	// [Lane]; 0: 1024.
	Calls int
}

const (
	defaultConnections = 4096
	defaultFailures    = 60
	failureBurst       = 10 // minutes' worth
	maxWatched         = 16_384
	// maxNamed bounds the addresses whose untraced failures are told by name.
	maxNamed = 256
)

// Gate counts. It is safe for concurrent use.
type Gate struct {
	cfg   Config
	clock func() time.Time

	failures  *lru.Cache[netip.Addr, *rate.Limiter]
	throttled *lru.Cache[netip.Addr, *rate.Limiter]
	addresses *lru.Cache[netip.Addr, *rate.Limiter]
	users     *lru.Cache[string, *rate.Limiter]

	connections connections

	mu       sync.Mutex
	untraced map[netip.Addr]int64 // refusals since they were last told of

	counts [lastKind]atomic.Int64
}

// Kind is what was limited.
type Kind uint8

// What can be limited.
const (
	Connections Kind = iota // a connection too many
	Addresses               // a request too many of an address
	Users                   // a request too many of a user
	Logins                  // a password that was not looked at
	Failures                // a refusal without a trace of its own
	lastKind
)

// String is the kind's name in metrics.
func (k Kind) String() string {
	return [...]string{"connection", "address", "user", "login", "untraced"}[k]
}

// Kinds returns all of them.
func Kinds() []Kind { return []Kind{Connections, Addresses, Users, Logins, Failures} }

// New returns a gate.
func New(cfg Config, clock func() time.Time) *Gate {
	if cfg.Connections == 0 {
		cfg.Connections = defaultConnections
	}
	if cfg.Failures == 0 {
		cfg.Failures = defaultFailures
	}
	return &Gate{
		cfg: cfg, clock: clock, untraced: make(map[netip.Addr]int64),
		failures: watched[netip.Addr](), throttled: watched[netip.Addr](), addresses: watched[netip.Addr](), users: watched[string](),
		connections: connections{most: cfg.Connections, open: make(map[netip.Addr]int)},
	}
}

func watched[K comparable]() *lru.Cache[K, *rate.Limiter] {
	cache, err := lru.New[K, *rate.Limiter](maxWatched)
	if err != nil {
		panic(err) // of a size that is not positive
	}
	return cache
}

// LimitsAddresses tells whether addresses have a rate at all.
func (g *Gate) LimitsAddresses() bool { return g.cfg.AddressRate > 0 }

// AdmitAddress tells whether a request of an address comes in now.
func (g *Gate) AdmitAddress(address netip.Addr) bool {
	if g.cfg.AddressRate == 0 {
		return true
	}
	ok := take(g.addresses, Client(address), rate.Limit(g.cfg.AddressRate), g.cfg.AddressRate, g.clock())
	return g.admitted(ok, Addresses)
}

// AdmitUser tells whether a request of a user, who has been proved, comes in now.
func (g *Gate) AdmitUser(userID string) bool {
	if g.cfg.UserRate == 0 {
		return true
	}
	return g.admitted(take(g.users, userID, rate.Limit(g.cfg.UserRate), g.cfg.UserRate, g.clock()), Users)
}

func (g *Gate) admitted(ok bool, kind Kind) bool {
	if !ok {
		g.counts[kind].Add(1)
	}
	return ok
}

// perFailure is the rate of an address's failures.
func (g *Gate) perFailure() (rate.Limit, int) {
	return rate.Limit(float64(g.cfg.Failures) / 60), failureBurst * g.cfg.Failures
}

// MayTry tells whether a password from an address is looked at.
func (g *Gate) MayTry(source string) bool {
	address, err := netip.ParseAddr(source)
	if err != nil {
		return true // not from a network
	}
	l, ok := g.failures.Get(Client(address))
	return g.admitted(!ok || l.TokensAt(g.clock()) >= 1, Logins)
}

// Failed counts a credential from an address that was refused, and tells
// whether that is one of those that are told of together, rather than one by one.
func (g *Gate) Failed(source string) (untraced bool) { return g.together(g.failures, source) }

// Throttled is [Gate.Failed] for a request that was refused as one too many of
// its user. Such are not failures of the address: who has shown a good
// credential keeps nobody there from a password.
func (g *Gate) Throttled(source string) (untraced bool) { return g.together(g.throttled, source) }

// together counts a refusal of an address, and tells whether it is told of with others.
func (g *Gate) together(counted *lru.Cache[netip.Addr, *rate.Limiter], source string) bool {
	address, err := netip.ParseAddr(source)
	if err != nil {
		return false
	}
	address = Client(address)
	limit, burst := g.perFailure()
	if take(counted, address, limit, burst, g.clock()) {
		return false
	}
	g.counts[Failures].Add(1)
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, known := g.untraced[address]; !known && len(g.untraced) >= maxNamed {
		address = netip.Addr{}
	}
	g.untraced[address]++
	return true
}

// Untraced returns how many refusals of which addresses were not traced since
// it was last asked; the zero address stands for all those beyond the first few.
func (g *Gate) Untraced() map[netip.Addr]int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	told := g.untraced
	g.untraced = make(map[netip.Addr]int64)
	return told
}

// Count returns how often something was limited.
func (g *Gate) Count(kind Kind) int64 { return g.counts[kind].Load() }

// take takes one from what is left to somebody; whom nobody has seen has all.
func take[K comparable](cache *lru.Cache[K, *rate.Limiter], who K, limit rate.Limit, burst int, now time.Time) bool {
	l, ok := cache.Get(who)
	if !ok {
		l = rate.NewLimiter(limit, burst)
		if before, there, _ := cache.PeekOrAdd(who, l); there {
			l = before
		}
	}
	return l.AllowN(now, 1)
}

// Client is the part of an address that is not the client's to choose.
func Client(address netip.Addr) netip.Addr {
	address = address.Unmap().WithZone("")
	if address.Is4() || !address.IsValid() {
		return address
	}
	return netip.PrefixFrom(address, 64).Masked().Addr()
}
