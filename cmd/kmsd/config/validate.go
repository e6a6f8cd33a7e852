package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// nodeID is what a node may be called: it becomes part of certificates, file
// names and gossip.
var nodeID = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?$`)

// serviceName is what a service with a default master key may be called.
var serviceName = regexp.MustCompile(`^[a-z0-9-]{1,64}$`)

// maxSocketPath is what fits into a Unix socket address everywhere, in bytes.
const maxSocketPath = 100

// maxDrainDelay bounds how long a stop may be put off.
const maxDrainDelay = 10 * time.Minute

// validate returns the first rule that the filled configuration breaks.
func (c *Config) validate() error {
	checks := []func(*Config) error{
		checkNode, checkAPI, checkPorts, checkReads, checkModule, checkAudit, checkKeys, checkLimits, checkLog,
	}
	for _, check := range checks {
		if err := check(c); err != nil {
			return err
		}
	}
	return nil
}

func checkNode(c *Config) error {
	if !nodeID.MatchString(c.Node.ID) {
		return fmt.Errorf("node.id %q must be 1 to 64 lower-case letters, digits and inner hyphens", c.Node.ID)
	}
	for _, dir := range []struct{ name, path string }{
		{"node.data_dir", c.Node.DataDir}, {"node.admin_socket", c.Node.AdminSocket}, {"audit.dir", c.Audit.Dir},
	} {
		if !filepath.IsAbs(dir.path) {
			return fmt.Errorf("%s %q must be an absolute path", dir.name, dir.path)
		}
	}
	if n := len(c.Node.AdminSocket); n > maxSocketPath {
		return fmt.Errorf("node.admin_socket %q has %d bytes, and a Unix socket's path at most %d: name a shorter one", c.Node.AdminSocket, n, maxSocketPath)
	}
	if c.ShutdownTimeout < time.Second || c.ShutdownTimeout > 10*time.Minute {
		return fmt.Errorf("shutdown_timeout %s must lie between 1s and 10m", c.ShutdownTimeout)
	}
	if c.DrainDelay < 0 || c.DrainDelay > maxDrainDelay {
		return fmt.Errorf("drain_delay %s must lie between 0s and %s", c.DrainDelay, maxDrainDelay)
	}
	return nil
}

func checkReads(c *Config) error {
	if !slices.Contains([]string{"read-index", "log-mark"}, c.Cluster.Reads) {
		return fmt.Errorf("cluster.reads %q must be read-index or log-mark", c.Cluster.Reads)
	}
	return nil
}

func checkKeys(c *Config) error {
	if c.Keys.DeletionMinimum < time.Second || c.Keys.DeletionMinimum > 1096*24*time.Hour {
		return fmt.Errorf("keys.deletion_minimum %s must lie between 1s and 26304h", c.Keys.DeletionMinimum)
	}
	for _, service := range c.Keys.Services {
		if !serviceName.MatchString(service) {
			return fmt.Errorf("keys.services: %q must be 1 to 64 lower-case letters, digits and hyphens", service)
		}
	}
	if c.Keys.ErasurePause < time.Second || c.Keys.ErasurePause > 24*time.Hour {
		return fmt.Errorf("keys.erasure_pause %s must lie between 1s and 24h: a deleted key is erased within a day", c.Keys.ErasurePause)
	}
	return nil
}

func checkLimits(c *Config) error {
	for _, limit := range []struct {
		name        string
		value, most int
	}{
		{"limits.connections", c.Limits.Connections, 16_384}, {"limits.calls", c.Limits.Calls, 65_536}, {"limits.failures", c.Limits.Failures, 1_000_000},
		{"limits.address_rate", c.Limits.AddressRate, 10_000_000}, {"limits.user_rate", c.Limits.UserRate, 10_000_000},
	} {
		if limit.value < 0 || limit.value > limit.most {
			return fmt.Errorf("%s %d must lie between 1 and %d", limit.name, limit.value, limit.most)
		}
	}
	return nil
}

func checkAudit(c *Config) error {
	if !slices.Contains([]string{"always", "interval"}, c.Audit.Sync) {
		return fmt.Errorf("audit.sync %q must be always or interval", c.Audit.Sync)
	}
	if !slices.Contains([]string{"refuse", "drop-oldest"}, c.Audit.Full) {
		return fmt.Errorf("audit.full %q must be refuse or drop-oldest", c.Audit.Full)
	}
	if c.Audit.Interval != 0 && (c.Audit.Interval < time.Millisecond || c.Audit.Interval > time.Minute) {
		return fmt.Errorf("audit.interval %s must lie between 1ms and 1m", c.Audit.Interval)
	}
	if c.Audit.Retention != 0 && c.Audit.Retention < time.Minute {
		return fmt.Errorf("audit.retention %s must be 1m or more", c.Audit.Retention)
	}
	if c.Audit.RetentionSize != 0 && c.Audit.RetentionSize < 64<<20 {
		return fmt.Errorf("audit.retention_size %d must be %d (64 MiB) or more", c.Audit.RetentionSize, 64<<20)
	}
	if c.Audit.CheckpointPause != 0 && (c.Audit.CheckpointPause < time.Second || c.Audit.CheckpointPause > time.Hour) {
		return fmt.Errorf("audit.checkpoint_pause %s must lie between 1s and 1h", c.Audit.CheckpointPause)
	}
	if c.Audit.RefusalAlarm < -1 || c.Audit.RefusalAlarm > 1_000_000 {
		return fmt.Errorf("audit.refusal_alarm %d must lie between 1 and 1000000, or be -1", c.Audit.RefusalAlarm)
	}
	if _, err := c.Audit.Sinks(""); err != nil {
		return err
	}
	return nil
}

func checkAPI(c *Config) error {
	if !slices.Contains([]string{"1.2", "1.3"}, c.API.MinTLS) {
		return fmt.Errorf("api.min_tls %q must be \"1.2\" or \"1.3\"", c.API.MinTLS)
	}
	if (c.API.CertificateFile == "") != (c.API.KeyFile == "") {
		return errors.New("api.certificate_file and api.key_file go together: give both or neither")
	}
	if _, err := c.API.Proxies(); err != nil {
		return err
	}
	u, err := url.Parse(c.API.Advertise)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil ||
		(u.Path != "" && u.Path != "/") || u.RawQuery != "" || u.Fragment != "" {
		return fmt.Errorf("api.advertise %q must be an https URL without a path", c.API.Advertise)
	}
	port := u.Port()
	if port == "" {
		port = "443"
	}
	return checkDialable("api.advertise", net.JoinHostPort(u.Hostname(), port))
}

func checkPorts(c *Config) error {
	listens := make(map[string]string)
	for _, l := range []struct{ name, address string }{
		{"api.listen", c.API.Listen}, {"cluster.listen", c.Cluster.Listen}, {"gossip.listen", c.Gossip.Listen},
	} {
		if err := checkAddress(l.name, l.address); err != nil {
			return err
		}
		if other, taken := listens[l.address]; taken {
			return fmt.Errorf("%s and %s are both %s: each needs a port of its own", other, l.name, l.address)
		}
		listens[l.address] = l.name
	}
	if err := checkDialable("cluster.advertise", c.Cluster.Advertise); err != nil {
		return err
	}
	if err := checkDialable("gossip.advertise", c.Gossip.Advertise); err != nil {
		return err
	}
	for _, g := range []struct{ name, address string }{{"gossip.listen", c.Gossip.Listen}, {"gossip.advertise", c.Gossip.Advertise}} {
		if err := checkNumeric(g.name, g.address); err != nil {
			return err
		}
	}
	return nil
}

// checkNumeric refuses a name: memberlist takes none, and listens on every
// address where it is given one.
func checkNumeric(name, address string) error {
	host, _, _ := net.SplitHostPort(address)
	if host == "" {
		return nil
	}
	if _, err := netip.ParseAddr(host); err != nil {
		return fmt.Errorf("%s %q must have an IP address and no name", name, address)
	}
	return nil
}

// checkAddress wants host:port with a port from 1 to 65535.
func checkAddress(name, address string) error {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("%s %q must be of the form HOST:PORT", name, address)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("%s %q must have a port from 1 to 65535", name, address)
	}
	return nil
}

// checkDialable refuses what another machine could not dial.
func checkDialable(name, address string) error {
	if err := checkAddress(name, address); err != nil {
		return err
	}
	host, _, _ := net.SplitHostPort(address)
	if ip, err := netip.ParseAddr(host); host == "" || (err == nil && ip.IsUnspecified()) {
		return fmt.Errorf("%s %q names no host that others could reach: set it to this machine's name or address", name, address)
	}
	return nil
}

func checkModule(c *Config) error {
	if n := c.Module.LoadedKeys; n < 0 || n > 1<<20 {
		return fmt.Errorf("module.loaded_keys %d must lie between 1 and 1048576", n)
	}
	switch c.Module.Kind {
	case "soft":
		if c.Module.Second != (Second{}) {
			return errors.New("module.second needs module.kind pkcs11: it is a second token")
		}
		return checkSoft(c.Module.Soft)
	case "pkcs11":
		p := c.Module.PKCS11
		for _, need := range []struct{ name, value string }{
			{"library", p.Library}, {"token_label", p.TokenLabel}, {"pin_file", p.PINFile},
		} {
			if need.value == "" {
				return fmt.Errorf("module.pkcs11.%s is needed with module.kind pkcs11", need.name)
			}
		}
		if err := checkToken("module.pkcs11", p); err != nil {
			return err
		}
		return checkSecond(c.Module)
	default:
		return fmt.Errorf("module.kind %q must be soft or pkcs11", c.Module.Kind)
	}
}

func checkToken(name string, p PKCS11) error {
	if p.Sessions < 0 || p.Sessions > 1024 {
		return fmt.Errorf("%s.sessions %d must lie between 1 and 1024", name, p.Sessions)
	}
	if p.CallLimit != 0 && (p.CallLimit < 100*time.Millisecond || p.CallLimit > 10*time.Minute) {
		return fmt.Errorf("%s.call_limit %s must lie between 100ms and 10m", name, p.CallLimit)
	}
	if p.OpenLimit != 0 && (p.OpenLimit < 100*time.Millisecond || p.OpenLimit > 10*time.Minute) {
		return fmt.Errorf("%s.open_limit %s must lie between 100ms and 10m", name, p.OpenLimit)
	}
	return nil
}

func checkSecond(m Module) error {
	switch second := m.Second.Token(m.PKCS11); {
	case m.Second == (Second{}):
		return nil
	case m.Second.TokenLabel == "":
		return errors.New("module.second.token_label is needed for a second HSM")
	case second.Library == m.PKCS11.Library && second.TokenLabel == m.PKCS11.TokenLabel && second.Serial == m.PKCS11.Serial:
		return fmt.Errorf("module.second is the token %q of module.pkcs11 itself: a second HSM is another token", second.TokenLabel)
	default:
		return checkToken("module.second", second)
	}
}

func checkLog(c *Config) error {
	if !slices.Contains([]string{"debug", "info", "warn", "error"}, c.Log.Level) {
		return fmt.Errorf("log.level %q must be debug, info, warn or error", c.Log.Level)
	}
	if !slices.Contains([]string{"text", "json"}, c.Log.Format) {
		return fmt.Errorf("log.format %q must be text or json", c.Log.Format)
	}
	return nil
}

func checkSoft(s Soft) error {
	if s.PassphraseFile != "" && s.UnlockKeyFile != "" {
		return errors.New("module.soft.passphrase_file and module.soft.unlock_key_file are both given: a passphrase stands in for an unlock key file")
	}
	if n, is := strings.CutPrefix(s.PassphraseFile, DescriptorPrefix); is {
		if fd, err := strconv.ParseUint(n, 10, 16); err != nil || fd == 1 || fd == 2 {
			return fmt.Errorf("module.soft.passphrase_file %q must name an inherited file descriptor: fd:0, or fd:3 to fd:65535", s.PassphraseFile)
		}
	}
	return nil
}
