package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"
)

// maxFileBytes bounds a configuration file.
const maxFileBytes = 1 << 20

// Load reads the file (none when empty), lays environ over it and the given
// flags of set (nil: none) over that, fills what is absent, and checks the
// whole. Its errors are one sentence for the operator.
func Load(file string, environ []string, set *pflag.FlagSet) (*Config, error) {
	c := new(Config)
	if file != "" {
		if err := readFile(c, file); err != nil {
			return nil, err
		}
	}
	if err := applyEnvironment(c, environ); err != nil {
		return nil, err
	}
	if set != nil {
		if err := applyFlags(c, set); err != nil {
			return nil, err
		}
	}
	hostname, err := os.Hostname()
	if err != nil && c.Node.ID == "" {
		return nil, fmt.Errorf("node.id is absent and the host name cannot be read: %w", err)
	}
	label, _, _ := strings.Cut(strings.ToLower(hostname), ".")
	c.fill(label)
	if err := c.validate(); err != nil {
		return nil, err
	}
	return c, nil
}

func readFile(c *Config, file string) error {
	f, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("opening the configuration: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if err != nil {
		return fmt.Errorf("reading the configuration: %w", err)
	}
	if len(text) > maxFileBytes {
		return fmt.Errorf("configuration %s is larger than %d bytes", file, maxFileBytes)
	}
	if err := Parse(text, c); err != nil {
		return fmt.Errorf("configuration %s: %w", file, err)
	}
	return nil
}

// Parse reads one YAML document into c. Unknown keys, keys given twice and a
// second document are errors that carry the line.
func Parse(text []byte, c *Config) error {
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	if err := decoder.Decode(c); err != nil && !errors.Is(err, io.EOF) {
		return readable(err)
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return errors.New("the file holds more than one document")
	}
	return nil
}

// readable turns an error of the YAML library into one line that does not
// speak of Go types.
func readable(err error) error {
	wrong, ok := errors.AsType[*yaml.TypeError](err)
	if !ok {
		return errors.New(strings.TrimPrefix(err.Error(), "yaml: "))
	}
	lines := make([]string, len(wrong.Errors))
	for i, text := range wrong.Errors {
		if at, _, ok := strings.Cut(text, " not found in type"); ok {
			text = strings.Replace(at, "field ", "unknown key ", 1)
		}
		lines[i] = text
	}
	return errors.New(strings.Join(lines, "; "))
}

// YAML renders the configuration as a file. It holds no secrets: those are
// only ever named by file.
func (c *Config) YAML() ([]byte, error) {
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	if err := encoder.Encode(c); err != nil {
		return nil, fmt.Errorf("rendering the configuration: %w", err)
	}
	return out.Bytes(), nil
}
