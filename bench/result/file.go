package result

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

// The bounds of a file that is read.
const (
	MaxBytes  = 64 << 20
	maxPoints = 1000
	maxRounds = 1000
	maxNodes  = 100
	maxKinds  = 100
	maxText   = 1000 // bytes of a name or a sentence
)

// ErrVersion: the file is of a version that this program does not read.
var ErrVersion = errors.New("the version is not one that this program reads")

// Write writes the file form.
func (r *Result) Write(w io.Writer) error {
	r.Version = Version
	if err := r.check(); err != nil {
		return fmt.Errorf("writing a result: %w", err)
	}
	text, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return fmt.Errorf("writing a result: %w", err)
	}
	if _, err := w.Write(append(text, '\n')); err != nil {
		return fmt.Errorf("writing a result: %w", err)
	}
	return nil
}

// Read reads the file form and checks it.
func Read(from io.Reader) (*Result, error) {
	text, err := io.ReadAll(io.LimitReader(from, MaxBytes+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("reading a result: %w", err)
	case len(text) > MaxBytes:
		return nil, fmt.Errorf("reading a result: it is larger than %d bytes", MaxBytes)
	}
	// The version first: another one may mean anything by the other names.
	var head struct {
		Version *int `json:"version"`
	}
	if err := json.Unmarshal(text, &head); err != nil {
		return nil, fmt.Errorf("reading a result: it is no JSON of kmsbench: %w", err)
	}
	switch {
	case head.Version == nil:
		return nil, errors.New("reading a result: it names no version, so that it is none of kmsbench's")
	case *head.Version != Version:
		return nil, fmt.Errorf("reading a result: version %d: %w (it reads version %d)", *head.Version, ErrVersion, Version)
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	r := new(Result)
	if err := decoder.Decode(r); err != nil {
		return nil, fmt.Errorf("reading a result: %w", err)
	}
	if err := r.check(); err != nil {
		return nil, fmt.Errorf("reading a result: %w", err)
	}
	return r, nil
}

// ReadFile reads the file at path.
func ReadFile(path string) (*Result, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading a result: %w", err)
	}
	defer file.Close()
	r, err := Read(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}
