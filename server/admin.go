package server

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/google/uuid"

	"github.com/raftkms/raftkms/cluster"
	"github.com/raftkms/raftkms/cluster/membership"
	"github.com/raftkms/raftkms/cluster/pki"
	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/hsm/doctor"
	"github.com/raftkms/raftkms/server/kms"
	"github.com/raftkms/raftkms/server/wire"
)

// The admin socket is the operator's door: who may open a Unix socket in the
// node's data directory is the node's operator already. Every change that goes
// through it is a traced command like any other.

const (
	adminBodyLimit    = 64 << 10
	adminTimeout      = 2 * time.Minute
	defaultTokenHours = 1
)

// errNoCluster is the answer of a node that has neither founded nor joined.
var errNoCluster = errors.New("this node has no cluster yet: run `kmsctl cluster init` here, or `kmsctl cluster join` with a token of an existing one")

// adminServer is the running admin socket.
type adminServer struct {
	http *http.Server
}

// listenAdmin takes the socket's path, replacing the socket of a process that
// is gone but never one that still answers.
func listenAdmin(ctx context.Context, path string) (net.Listener, error) {
	if len(path) > 100 {
		return nil, fmt.Errorf("taking the admin socket: its path has %d bytes and Unix sockets allow about 100; set a shorter one", len(path))
	}
	if conn, err := net.Dial("unix", path); err == nil {
		conn.Close()
		return nil, fmt.Errorf("taking the admin socket: another node answers on %s", path)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("taking the admin socket: %w", err)
	}
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("taking the admin socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		listener.Close()
		return nil, fmt.Errorf("taking the admin socket: %w", err)
	}
	return listener, nil
}

// serveAdmin answers on the admin socket until it is closed.
func (s *Server) serveAdmin() adminServer {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+wire.AdminPathStatus, func(w http.ResponseWriter, r *http.Request) {
		writeAdmin(w, s.status(), nil)
	})
	handleAdmin(mux, wire.AdminPathInit, func(ctx context.Context, req wire.InitRequest) (*wire.InitReply, error) {
		return s.found(ctx, req)
	})
	handleAdmin(mux, wire.AdminPathJoinToken, s.createJoinToken)
	handleAdmin(mux, wire.AdminPathJoin, func(ctx context.Context, req wire.JoinRequest) (struct{}, error) {
		return struct{}{}, s.join(ctx, req.Token)
	})
	handleAdmin(mux, wire.AdminPathDoctor, func(ctx context.Context, _ struct{}) (*doctor.Report, error) {
		return s.examineModule(ctx), nil
	})
	handleAdmin(mux, wire.AdminPathApproveRoots, func(ctx context.Context, req wire.ApproveRootsRequest) (struct{}, error) {
		return struct{}{}, s.approveRoots(ctx, uuid.NewString(), req)
	})
	handleAdmin(mux, wire.AdminPathBackUpRoots, s.backUpRoots)
	handleAdmin(mux, wire.AdminPathRotateRoots, s.rotateRoots)
	handleAdmin(mux, wire.AdminPathCopyRoots, s.copyRoots)
	handleAdmin(mux, wire.AdminPathVerifyRoots, s.verifyRoots)
	s.handleBackups(mux)
	handleAdmin(mux, wire.AdminPathRemove, s.removeNode)
	handleAdmin(mux, wire.AdminPathPromote, func(ctx context.Context, req wire.NodeRequest) (struct{}, error) {
		return struct{}{}, s.setStandby(ctx, req.NodeID, false)
	})
	handleAdmin(mux, wire.AdminPathDemote, func(ctx context.Context, req wire.NodeRequest) (struct{}, error) {
		return struct{}{}, s.setStandby(ctx, req.NodeID, true)
	})
	handleAdmin(mux, wire.AdminPathTransfer, s.transferLeadership)
	handleAdmin(mux, wire.AdminPathRotateGossip, s.rotateGossipKey)
	mux.HandleFunc("GET "+wire.AdminPathCA, func(w http.ResponseWriter, r *http.Request) {
		reply, err := s.caStatus(r.Context())
		writeAdmin(w, reply, err)
	})
	handleAdmin(mux, wire.AdminPathCA, s.rotateCA)
	mux.HandleFunc("GET "+wire.AdminPathUpgrade, func(w http.ResponseWriter, r *http.Request) {
		reply, err := s.upgradeStatus(r.Context())
		writeAdmin(w, reply, err)
	})
	handleAdmin(mux, wire.AdminPathUpgrade, s.raiseLevel)
	handleAdmin(mux, wire.AdminPathVerifyErasure, s.verifyErasure)
	handleAdmin(mux, wire.AdminPathVerifyTraces, s.verifyTraces)
	mux.HandleFunc("GET "+wire.AdminPathTraceKeys, func(w http.ResponseWriter, r *http.Request) {
		reply, err := s.traceKeys(r.Context())
		writeAdmin(w, reply, err)
	})
	mux.HandleFunc("GET "+wire.AdminPathConsistency, func(w http.ResponseWriter, r *http.Request) {
		reply, err := s.consistency(r.Context())
		writeAdmin(w, reply, err)
	})
	handleAdmin(mux, wire.AdminPathConsistency, s.setConsistency)
	s.handleProviders(mux)
	server := &http.Server{Handler: s.tracedAdmin(mux), ReadTimeout: 10 * time.Second, IdleTimeout: time.Minute}
	s.tasks.Go(func() {
		if err := server.Serve(s.adminListener); !errors.Is(err, http.ErrServerClosed) {
			s.fail(fmt.Errorf("serving the admin socket: %w", err))
		}
	})
	return adminServer{http: server}
}

// examineModule is kmsctl hsm doctor of a node that runs.
func (s *Server) examineModule(ctx context.Context) *doctor.Report {
	module := s.cfg.Module
	r := doctor.New(module.Describe())
	for _, device := range s.modules() {
		r.Devices = append(r.Devices, doctor.Device(device))
	}
	if err := hsm.Outage(module); err != nil {
		r.Problem(err)
		return r
	}
	if m := s.member.Load(); m != nil && m.service.Healthy() != nil {
		r.Problem(m.service.Healthy())
	}
	if device, is := module.(interface {
		Survey(ctx context.Context, r *doctor.Report) error
	}); is {
		if err := device.Survey(ctx, r); err != nil {
			r.Problem(err)
		}
	}
	if m := s.member.Load(); m == nil || !m.roots.held() {
		r.Notes = append(r.Notes, "The module does not hold the root keys of a cluster yet, so nothing was timed: stop the node to have it examined.")
		return r
	}
	r.Examine(ctx, module)
	return r
}

func (a adminServer) close(ctx context.Context) {
	if err := a.http.Shutdown(ctx); err != nil {
		a.http.Close()
	}
}

// handleAdmin decodes, calls, and encodes or refuses.
func handleAdmin[Req, Reply any](mux *http.ServeMux, path string, call func(context.Context, Req) (Reply, error)) {
	mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
		var req Req
		decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, adminBodyLimit))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&req); err != nil && !errors.Is(err, io.EOF) {
			writeAdmin(w, nil, fmt.Errorf("the request cannot be read: %w", err))
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), adminTimeout)
		defer cancel()
		reply, err := call(ctx, req)
		writeAdmin(w, reply, err)
	})
}

func writeAdmin(w http.ResponseWriter, reply any, err error) {
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		w.WriteHeader(adminStatus(err))
		reply = wire.AdminError{Error: err.Error()}
	}
	_ = json.NewEncoder(w).Encode(reply) // the caller is gone if this fails
}

// unfinished is why what was begun has not come to its end, though whoever asks
// again goes on with it.
type unfinished struct{ error }

func (u unfinished) Unwrap() error { return u.error }

// adminStatus tells what may be asked again, and what must be looked for first,
// from what was refused or has failed.
func adminStatus(err error) int {
	if _, goesOn := errors.AsType[unfinished](err); goesOn {
		return http.StatusServiceUnavailable
	}
	switch kind := kms.KindOf(err); {
	case kind == kms.KindOutcomeUnknown, errors.Is(err, cluster.ErrOutcomeUnknown):
		return http.StatusGatewayTimeout
	case kind == kms.KindUnavailable, errors.Is(err, cluster.ErrNoLeader), errors.Is(err, cluster.ErrUnreachable):
		return http.StatusServiceUnavailable
	}
	return http.StatusBadRequest
}

// createJoinToken makes a token that admits one node. Only its hash is kept.
func (s *Server) createJoinToken(ctx context.Context, req wire.JoinTokenRequest) (*wire.JoinTokenReply, error) {
	m := s.member.Load()
	if m == nil {
		return nil, errNoCluster
	}
	lifetime := time.Duration(req.LifetimeSeconds) * time.Second
	if lifetime == 0 {
		lifetime = defaultTokenHours * time.Hour
	}
	if lifetime < time.Minute || lifetime > 24*time.Hour {
		return nil, errors.New("a join token lives for 60 to 86400 seconds")
	}
	if err := m.service.Current(ctx); err != nil {
		return nil, err // the token says by which CA the joiner is to know the cluster
	}
	root := s.machine.State()
	authority, err := x509.ParseCertificate(root.Cluster().CACertificates[0])
	if err != nil {
		return nil, fmt.Errorf("reading the cluster's CA: %w", err)
	}
	token := membership.Token{ClusterID: root.Cluster().ID, CAPin: pki.Fingerprint(authority.RawSubjectPublicKeyInfo)}
	rand.Read(token.Secret[:])
	for _, node := range root.Nodes() {
		token.Addresses = append(token.Addresses, node.ClusterAddress)
	}
	expires := time.Now().Add(lifetime)
	id := sha256.Sum256(token.Secret[:])
	err = m.service.CreateJoinToken(ctx, uuid.NewString(), command.CreateJoinToken{ID: hex.EncodeToString(id[:]), Expires: expires.UnixMilli()})
	if err != nil {
		return nil, err
	}
	text, err := token.Text()
	if err != nil {
		return nil, err
	}
	return &wire.JoinTokenReply{Token: text, Expires: expires.UTC().Format(time.RFC3339)}, nil
}

// status is what this node knows of itself and its cluster; it asks nobody.
func (s *Server) status() *wire.StatusReply {
	reply := &wire.StatusReply{NodeID: s.cfg.NodeID, Version: s.cfg.Version, Module: s.cfg.Module.Describe().Kind, Modules: s.modules(), Phase: s.phase(), Members: []wire.MemberInfo{}}
	m := s.member.Load()
	if m == nil {
		return reply
	}
	if err := m.ready.now(); err != nil {
		reply.NotReady = err.Error()
	}
	reply.Ready = reply.NotReady == ""
	reply.Roots = m.roots.held()
	reply.ClusterID = m.roots.clusterID()
	reply.Fingerprint = m.roots.fingerprint()
	status := m.node.Status()
	reply.Leader, reply.Term, reply.Commit = status.LeaderID, status.Term, status.Commit
	root := s.machine.State()
	hash := root.Hash()
	reply.Applied, reply.StateHash = root.Applied(), hex.EncodeToString(hash[:])

	ctx, cancel := context.WithTimeout(s.running, time.Second)
	defer cancel()
	alive := map[string]bool{s.cfg.NodeID: true}
	for _, peer := range status.Peers {
		alive[peer.NodeID] = true
	}
	roles, changes := make(map[string]string), make(map[string]string)
	var leaving []wire.MemberInfo
	if members, err := m.node.Members(ctx); err == nil && root.Cluster() != nil {
		for _, member := range members {
			roles[member.ID] = "standby"
			if member.Voter {
				roles[member.ID] = "voter"
			}
			changes[member.ID] = m.dueInfo(root, member)
			if _, known := root.Node(member.ID); !known {
				leaving = append(leaving, wire.MemberInfo{
					ID: member.ID, Role: roles[member.ID], Due: changes[member.ID], ClusterAddress: member.Address, Alive: alive[member.ID],
				})
			}
		}
	}
	clocks := s.memberClocks(ctx, m, status.LeaderID)
	for _, node := range root.Nodes() {
		info := wire.MemberInfo{
			ID: node.ID, Role: roles[node.ID], Due: changes[node.ID], ClusterAddress: node.ClusterAddress, APIURL: node.APIURL,
			Alive: alive[node.ID], RootsApproved: node.RootsApproved == root.Cluster().RootGeneration,
			Fingerprint: hex.EncodeToString(node.TransportKey),
		}
		if info.Role == "" {
			info.Role = "admitted"
		}
		if ahead, known := clocks[node.ID]; known {
			info.ClockAheadMillis = &ahead
		}
		reply.Members = append(reply.Members, info)
	}
	reply.Members = append(reply.Members, leaving...)
	return reply
}

// memberClocks is how far members' clocks are ahead of replicated time, in
// milliseconds, as the leader knows it; nil where it does not answer.
func (s *Server) memberClocks(ctx context.Context, m *member, leader string) map[string]int64 {
	switch leader {
	case "":
		return nil
	case s.cfg.NodeID:
		return s.ownStatus(m).Clocks
	}
	status, err := s.statusOf(ctx, m, leader)
	if err != nil {
		return nil
	}
	return status.Clocks
}

// phase is where the node is in its life.
func (s *Server) phase() string {
	m := s.member.Load()
	switch {
	case s.draining.Load():
		return "draining"
	case s.joining.Load():
		return "joining"
	case m == nil:
		return "empty"
	case !m.roots.held():
		return "waiting-for-roots"
	default:
		return "serving"
	}
}
