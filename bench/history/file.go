package history

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// line is one line of a history's file; one of its fields is set.
type line struct {
	Call    *Call    `json:"call,omitempty"`
	Entry   *Entry   `json:"entry,omitempty"`
	Granted *Call    `json:"granted,omitempty"`
	Listing *Listing `json:"listing,omitempty"`
	Status  *Status  `json:"status,omitempty"`
	Fault   *Fault   `json:"fault,omitempty"`
	Install *Install `json:"install,omitempty"`
	Trace   *Trace   `json:"trace,omitempty"`
	Leak    *Leak    `json:"leak,omitempty"`
	Delayed *Delayed `json:"delayed,omitempty"`
	MaxAge  *int64   `json:"max_age,omitempty"`
}

// Write writes the history as lines of JSON.
func (h *History) Write(w io.Writer) error {
	out := bufio.NewWriter(w)
	encoder := json.NewEncoder(out)
	put := func(l line) error {
		if err := encoder.Encode(l); err != nil {
			return fmt.Errorf("writing the history: %w", err)
		}
		return nil
	}
	var err error
	for i := range h.Calls {
		err = errors.Join(err, put(line{Call: &h.Calls[i]}))
	}
	for i := range h.Entries {
		err = errors.Join(err, put(line{Entry: &h.Entries[i]}))
	}
	for i := range h.Granted {
		err = errors.Join(err, put(line{Granted: &h.Granted[i]}))
	}
	for i := range h.Listings {
		err = errors.Join(err, put(line{Listing: &h.Listings[i]}))
	}
	for i := range h.Statuses {
		err = errors.Join(err, put(line{Status: &h.Statuses[i]}))
	}
	for i := range h.Faults {
		err = errors.Join(err, put(line{Fault: &h.Faults[i]}))
	}
	for i := range h.Installs {
		err = errors.Join(err, put(line{Install: &h.Installs[i]}))
	}
	for i := range h.Traces {
		err = errors.Join(err, put(line{Trace: &h.Traces[i]}))
	}
	for i := range h.Leaks {
		err = errors.Join(err, put(line{Leak: &h.Leaks[i]}))
	}
	for i := range h.Delayed {
		err = errors.Join(err, put(line{Delayed: &h.Delayed[i]}))
	}
	if age := int64(h.MaxAge); age > 0 {
		err = errors.Join(err, put(line{MaxAge: &age}))
	}
	if err != nil {
		return err
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("writing the history: %w", err)
	}
	return nil
}

// Read reads what [History.Write] wrote.
func Read(r io.Reader) (*History, error) {
	h := new(History)
	decoder := json.NewDecoder(r)
	decoder.DisallowUnknownFields()
	for n := 1; ; n++ {
		var l line
		err := decoder.Decode(&l)
		switch {
		case errors.Is(err, io.EOF):
			h.sort()
			return h, nil
		case err != nil:
			return nil, fmt.Errorf("reading record %d of the history: %w", n, err)
		case l.Call != nil:
			h.Calls = append(h.Calls, *l.Call)
		case l.Entry != nil:
			h.Entries = append(h.Entries, *l.Entry)
		case l.Granted != nil:
			h.Granted = append(h.Granted, *l.Granted)
		case l.Listing != nil:
			h.Listings = append(h.Listings, *l.Listing)
		case l.Status != nil:
			h.Statuses = append(h.Statuses, *l.Status)
		case l.Fault != nil:
			h.Faults = append(h.Faults, *l.Fault)
		case l.Install != nil:
			h.Installs = append(h.Installs, *l.Install)
		case l.Trace != nil:
			h.Traces = append(h.Traces, *l.Trace)
		case l.Leak != nil:
			h.Leaks = append(h.Leaks, *l.Leak)
		case l.Delayed != nil:
			h.Delayed = append(h.Delayed, *l.Delayed)
		case l.MaxAge != nil:
			h.MaxAge = time.Duration(*l.MaxAge)
		default:
			return nil, fmt.Errorf("reading record %d of the history: it is empty", n)
		}
	}
}

// Save writes the history into a new file that only its owner can read.
func (h *History) Save(path string) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("saving the history: %w", err)
	}
	err = h.Write(file)
	if closing := file.Close(); err == nil && closing != nil {
		err = fmt.Errorf("saving the history: %w", closing)
	}
	return err
}

// Load reads the file of a saved history.
func Load(path string) (*History, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("loading a history: %w", err)
	}
	defer file.Close()
	return Read(file)
}
