package campaign

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/klauspost/compress/zstd"

	"github.com/raftkms/raftkms/bench/history"
)

// secrets are what no node may write down: everything that a campaign has given
// the cluster, or got from it, in confidence. They are looked for at the end in
// every file of every node, in its metrics and in packets of the network, as they
// are, in base64 and in hex.
type secrets struct {
	mu    sync.Mutex
	words map[string]string // secret → what it is
	kinds map[string]int    // how many of what
}

const (
	// minSecret is the shortest secret that is looked for: shorter ones turn up
	// by chance.
	minSecret = 16
	// maxSecrets bounds how many of a kind are remembered.
	maxSecrets = 20_000
	window     = 8 // bytes by which places worth a look are found
	scanBlock  = 1 << 20
)

// add remembers a secret.
func (s *secrets) add(what string, secret []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.words == nil {
		s.words, s.kinds = make(map[string]string), make(map[string]int)
	}
	if len(secret) >= minSecret && s.kinds[what] < maxSecrets {
		s.words[string(secret)] = what
		s.kinds[what]++
	}
}

// needles are the secrets in every form, by their first bytes.
type needles struct {
	byStart map[uint64][]needle
	longest int
}

type needle struct {
	text []byte
	what string
}

func (n *needles) put(what string, text []byte) {
	start := binary.LittleEndian.Uint64(text)
	n.byStart[start] = append(n.byStart[start], needle{text, what})
	n.longest = max(n.longest, len(text))
}

func (s *secrets) needles() *needles {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := &needles{byStart: make(map[uint64][]needle)}
	put := n.put
	for word, what := range s.words {
		secret := []byte(word)
		put(what+" as it is", secret)
		// The end of base64 depends on what follows.
		put(what+" in base64", []byte(base64.StdEncoding.EncodeToString(secret[:len(secret)/3*3])))
		put(what+" in base64", []byte(base64.URLEncoding.EncodeToString(secret[:len(secret)/3*3])))
		put(what+" in hex", []byte(hex.EncodeToString(secret)))
		put(what+" in hex", []byte(strings.ToUpper(hex.EncodeToString(secret))))
	}
	return n
}

// in returns which of the needles a text holds, each once.
func (n *needles) in(r io.Reader) (found []string, err error) {
	seen := make(map[string]bool)
	buffer := make([]byte, 0, scanBlock+n.longest)
	for end := false; !end; {
		kept := len(buffer)
		read, err := io.ReadFull(r, buffer[kept:kept+scanBlock])
		if end = errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF); err != nil && !end {
			return nil, err
		}
		buffer = buffer[:kept+read]
		for i := 0; i+window <= len(buffer); i++ {
			for _, candidate := range n.byStart[binary.LittleEndian.Uint64(buffer[i:])] {
				if bytes.HasPrefix(buffer[i:], candidate.text) && !seen[candidate.what] {
					seen[candidate.what] = true
					found = append(found, candidate.what)
				}
			}
		}
		over := max(0, len(buffer)-n.longest)
		buffer = append(buffer[:0], buffer[over:]...)
	}
	return found, nil
}

// seek looks through every file of every node, its metrics, where it still
// answers, and all packets, where there were some.
func (r *run) seek(metrics map[string][]byte) error {
	n := r.secrets.needles()
	for _, p := range r.cluster.processes {
		tell := func(where string, text io.Reader) error {
			found, err := n.in(text)
			for _, what := range found {
				r.recorder.Leak(history.Leak{Node: p.ID(), Where: where, Secret: what})
			}
			return err
		}
		if err := tell("its metrics", bytes.NewReader(metrics[p.ID()])); err != nil {
			return err
		}
		if err := eachText(filepath.Join(r.cluster.dir, p.ID()), tell); err != nil {
			return fmt.Errorf("looking for secrets in the files of %s: %w", p.ID(), err)
		}
	}
	if err := r.seekOnWire(n); err != nil {
		return fmt.Errorf("looking for secrets in packets: %w", err)
	}
	return nil
}

// maxLooks bounds how often eachText looks anew.
const maxLooks = 100

// eachText calls tell with the text of every file below a directory, each once.
// A node may be at work there: as long as files go away that stood in a listing,
// what they are called now is looked for.
func eachText(dir string, tell func(where string, text io.Reader) error) error {
	seen := make(map[string]bool)
	for range maxLooks {
		gone := false
		err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
			if err == nil && (!entry.Type().IsRegular() || seen[path]) {
				return nil
			}
			if err == nil {
				err = withText(path, func(text io.Reader) error {
					seen[path] = true
					return tell(strings.TrimPrefix(path, dir+"/"), text)
				})
			}
			if errors.Is(err, fs.ErrNotExist) {
				gone = true
				return nil
			}
			return err
		})
		if err != nil || !gone {
			return err
		}
	}
	return fmt.Errorf("at each of %d looks a file had gone away", maxLooks)
}

// withText opens a file, and unpacks it where its name says so.
func withText(path string, do func(text io.Reader) error) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if !strings.HasSuffix(path, ".zst") {
		return do(f)
	}
	d, err := zstd.NewReader(f)
	if err != nil {
		return err
	}
	defer d.Close()
	return do(d)
}

// metrics are those of every node that answers.
func (r *run) metrics() map[string][]byte {
	all := make(map[string][]byte)
	for _, d := range r.nodes {
		answer, err := d.http.Get(d.url + "/metrics")
		if err != nil {
			continue // a node that does not serve was reported
		}
		text, err := io.ReadAll(io.LimitReader(answer.Body, 16<<20))
		if answer.Body.Close(); err == nil && answer.StatusCode == http.StatusOK {
			all[d.node] = text
		}
	}
	return all
}
