package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/raftkms/raftkms/bench/load"
	"github.com/raftkms/raftkms/bench/target"
	"github.com/raftkms/raftkms/client"
	"github.com/raftkms/raftkms/client/devfile"
	"github.com/raftkms/raftkms/hsm/hsmtest/faultylib"
	"github.com/raftkms/raftkms/hsm/pkcs11"
)

// The services that can be driven.
const (
	kindRaftKMS = "raftkms" // a cluster that is run for the purpose
	kindFixed   = "fixed"   // the built-in server that does nothing
	kindHuawei  = "huawei"
	kindAWS     = "aws"
	kindTransit = "transit"
	kindKES     = "kes"
)

// stand is a service that stands ready for a load.
type stand struct {
	nodes int
	// prepare makes the requests of a load that uses a number of keys in turn.
	prepare func(ctx context.Context, keys int) (load.PosterConfig, error)
	huawei  *target.Huawei // of a cluster that is run
	file    *devfile.File  // of such a cluster
	pids    []int          // of its processes on this machine; empty: unknown
	metrics *scraper       // nil: it has none
	// delay adds latency to every call of the HSM; nil: it cannot.
	delay func(time.Duration)
	level string // of the keys that were prepared last; empty: unknown
	stop  func() error
}

// outside is what the flags say of a service that kmsbench does not run.
type outside struct {
	urls            []string
	caFile          string
	certificateFile string
	keyFile         string
	credentialsFile string
	project         string
	region          string
	mount           string
	keys            []string
	pids            []int
}

// open makes a service of the flags ready.
func (o *outside) open(ctx context.Context, kind string, p *plan) (*stand, error) {
	who, err := readCredentials(o.credentialsFile)
	if err != nil {
		return nil, err
	}
	endpoint := target.Endpoint{URLs: o.urls}
	if o.caFile != "" {
		if endpoint.CA, err = client.ReadCA(o.caFile); err != nil {
			return nil, err
		}
	}
	if o.certificateFile != "" {
		certificate, err := tls.LoadX509KeyPair(o.certificateFile, o.keyFile)
		if err != nil {
			return nil, fmt.Errorf("reading the client certificate and its private key (--certificate-file, --certificate-key-file): %w", err)
		}
		endpoint.Certificate = &certificate
	}
	s := &stand{nodes: len(o.urls), pids: o.pids, stop: func() error { return nil }}
	var service target.Service
	switch kind {
	case kindHuawei:
		if o.project == "" {
			return nil, errors.New("the project id is missing: give --project")
		}
		if err := who.key(); err != nil {
			return nil, err
		}
		huawei, err := target.NewHuawei(endpoint, o.project, who.AccessKey, who.SecretKey)
		if err != nil {
			return nil, err
		}
		service = huawei
		s.metrics = newScraper(o.urls, endpoint.CA)
		s.stop = func() error { huawei.Close(); s.metrics.close(); return nil }
		s.prepare = func(ctx context.Context, _ int) (load.PosterConfig, error) {
			keys := o.keys
			if len(keys) == 0 {
				made, err := ensureKeyFor(ctx, huawei.Client(), p.operation)
				if err != nil {
					return load.PosterConfig{}, err
				}
				keys = []string{made}
			}
			return huawei.Prepare(ctx, p.work(keys))
		}
	case kindAWS:
		if err := who.key(); err != nil {
			return nil, err
		}
		service, err = target.NewAWS(endpoint, o.region, target.AWSCredentials{AccessKey: who.AccessKey, SecretKey: who.SecretKey, SessionToken: who.SessionToken})
	case kindTransit:
		if err := who.token(); err != nil {
			return nil, err
		}
		service, err = target.NewTransit(endpoint, o.mount, who.Token)
	case kindKES:
		service, err = target.NewKES(endpoint)
	default:
		return nil, fmt.Errorf("--target %q must be raftkms, fixed, huawei, aws, transit or kes", kind)
	}
	if err != nil {
		return nil, err
	}
	if s.prepare == nil {
		if len(o.keys) == 0 {
			return nil, errors.Join(errors.New("the key is missing: name it by --key"), s.stop())
		}
		s.prepare = func(ctx context.Context, _ int) (load.PosterConfig, error) {
			return service.Prepare(ctx, p.work(o.keys))
		}
	}
	if err := o.reach(ctx, service, s, p); err != nil {
		return nil, errors.Join(err, s.stop())
	}
	return s, nil
}

// reach tries the service before anything is measured or made.
func (o *outside) reach(ctx context.Context, service target.Service, s *stand, p *plan) error {
	probe, ok := service.Probe()
	if !ok {
		var err error
		if probe, err = s.prepare(ctx, 1); err != nil {
			return err
		}
	}
	return target.Reach(ctx, probe)
}

// ensureKeyFor finds or makes the key of a service that is there already.
func ensureKeyFor(ctx context.Context, c *client.Client, operation string) (string, error) {
	if operation != target.Sign {
		return c.EnsureKey(ctx, benchKey)
	}
	const name = benchKey + "-sign"
	key, err := c.DescribeKey(ctx, "alias/"+name)
	if errors.Is(err, client.ErrNotFound) {
		return c.CreateKey(ctx, client.NewKey{Name: name, Spec: target.SigningSpec, Usage: "SIGN_VERIFY"})
	}
	return key.ID, err
}

func (p *plan) work(keys []string) target.Work {
	return target.Work{Operation: p.operation, Keys: keys, Payload: p.payload, Batch: p.batch}
}

// openCluster runs a cluster of its own.
func openCluster(ctx context.Context, o clusterOptions, level string, p *plan) (_ *stand, err error) {
	s := &stand{nodes: o.nodes}
	var stops []func() error // the last one first
	s.stop = func() error {
		var all error
		for i := len(stops) - 1; i >= 0; i-- {
			all = errors.Join(all, stops[i]())
		}
		return all
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.stop())
		}
	}()
	if o.module == "pkcs11" && p.latencies[len(p.latencies)-1] > 0 {
		device, stop, err := openSlowDevice()
		if err != nil {
			return nil, err
		}
		stops = append(stops, stop)
		o.library, s.delay = device.Path, device.Delay
	}
	cluster, err := startCluster(ctx, o)
	if err != nil {
		return nil, err
	}
	stops = append(stops, cluster.stop)
	if s.delay != nil {
		stops = append(stops, func() error { s.delay(0); return nil })
	}
	file, err := devfile.Read(cluster.path)
	if err != nil {
		return nil, err
	}
	ca, err := client.ReadCA(file.CAFile)
	if err != nil {
		return nil, err
	}
	for _, node := range file.Nodes {
		s.pids = append(s.pids, node.PID)
	}
	huawei, err := target.NewHuawei(target.Endpoint{URLs: file.URLs(), CA: ca}, file.ProjectID, file.AccessKey, file.SecretKey)
	if err != nil {
		return nil, err
	}
	s.huawei, s.file = huawei, file
	s.metrics = newScraper(file.URLs(), ca)
	stops = append(stops, func() error { huawei.Close(); s.metrics.close(); return nil })
	keys := keyMaker{client: huawei.Client(), name: benchKey, level: level, signing: p.operation == target.Sign}
	s.prepare = func(ctx context.Context, n int) (load.PosterConfig, error) {
		made, err := keys.make(ctx, n)
		if err != nil {
			return load.PosterConfig{}, err
		}
		key, err := huawei.Client().DescribeKey(ctx, made[0])
		if err != nil {
			return load.PosterConfig{}, err
		}
		s.level = key.Level
		return huawei.Prepare(ctx, p.work(made))
	}
	return s, nil
}

// openSlowDevice puts a library in front of SoftHSM that can add latency.
func openSlowDevice() (*faultylib.Device, func() error, error) {
	softHSM, err := pkcs11.FindSoftHSM()
	if err != nil {
		return nil, nil, err
	}
	dir, err := os.MkdirTemp("", "kmsbench-device")
	if err != nil {
		return nil, nil, fmt.Errorf("making a directory for the device: %w", err)
	}
	device, err := faultylib.New(dir, softHSM)
	if err != nil {
		return nil, nil, errors.Join(err, os.RemoveAll(dir))
	}
	return device, func() error { return errors.Join(device.Close(), os.RemoveAll(dir)) }, nil
}

// keyMaker makes the keys of a cluster that was run for the purpose.
type keyMaker struct {
	client  *client.Client
	name    string // what names of the keys begin with
	level   string
	signing bool
	made    []string
}

// make returns n keys, of which those of the last call are used again.
func (k *keyMaker) make(ctx context.Context, n int) ([]string, error) {
	have := len(k.made)
	if n <= have {
		return k.made[:n], nil
	}
	if _, err := k.client.SetQuotas(ctx, k.client.ProjectID(), map[string]int{"CMK": n + 10}); err != nil {
		return nil, fmt.Errorf("raising the quota of keys: %w", err)
	}
	k.made = append(k.made, make([]string, n-have)...)
	err := target.InParallel(ctx, n-have, func(ctx context.Context, i int) (err error) {
		key := client.NewKey{Name: fmt.Sprintf("%s-%d", k.name, have+i), Level: k.level}
		if k.signing {
			key.Spec, key.Usage = target.SigningSpec, "SIGN_VERIFY"
		}
		k.made[have+i], err = k.client.CreateKey(ctx, key)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("making %d keys: %w", n-have, err)
	}
	return k.made, nil
}

// fixedAnswer is the answer's size of the built-in server, in bytes, unless it
// is told otherwise: about that of create-datakey.
const fixedAnswer = 512

// nobody is a project that there is not.
const nobody = "00000000000000000000000000000000"

// openFixed runs the built-in server, which is sent a signed create-datakey.
func openFixed(ctx context.Context, p *plan) (*stand, error) {
	size := p.payload
	if size == 0 {
		size = fixedAnswer
	}
	server, err := startFixed(ctx, size, 0)
	if err != nil {
		return nil, err
	}
	path, body, err := load.DataKeyRequest(nobody, "00000000-0000-0000-0000-000000000000")
	if err != nil {
		return nil, errors.Join(err, server.stop())
	}
	return &stand{
		nodes: 1, pids: []int{server.cmd.Process.Pid}, stop: server.stop,
		prepare: func(context.Context, int) (load.PosterConfig, error) {
			return load.PosterConfig{URLs: []string{server.url}, CA: server.ca, Path: path, Body: body, AccessKey: "fixed", SecretKey: "fixed"}, nil
		},
	}, nil
}
