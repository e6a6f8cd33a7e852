package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/raftkms/raftkms/client"
	"github.com/raftkms/raftkms/client/admin"
	"github.com/raftkms/raftkms/client/devfile"
	"github.com/raftkms/raftkms/cmd/kmsd/config"
)

// app is what the commands share: how to reach a node and how to print.
type app struct {
	output string

	socket, config string

	dev, ca, accessKey, secretKeyFile, project string
	urls                                       []string
}

func (a *app) addFlags(set *pflag.FlagSet) {
	set.StringVarP(&a.output, "output", "o", "table", "Form of results: table or json.")
	set.StringVar(&a.socket, "socket", os.Getenv("RAFTKMS_SOCKET"), "Admin socket of a node (RAFTKMS_SOCKET).")
	set.StringVar(&a.config, "config", "", "The node's kmsd.yaml, to find its admin socket.")
	set.StringVar(&a.dev, "dev", os.Getenv("RAFTKMS_DEV"), "dev.json of a cluster run by kmsd dev (RAFTKMS_DEV).")
	set.StringSliceVar(&a.urls, "url", list(os.Getenv("RAFTKMS_URL")), "https addresses of the nodes, separated by commas, or dns://NAME:PORT for all addresses of a name (RAFTKMS_URL).")
	set.StringVar(&a.ca, "ca-file", os.Getenv("RAFTKMS_CA_FILE"), "PEM file of the CA of the nodes' certificates; the system's when absent (RAFTKMS_CA_FILE).")
	set.StringVar(&a.accessKey, "access-key", os.Getenv("RAFTKMS_ACCESS_KEY"), "Access key (RAFTKMS_ACCESS_KEY).")
	set.StringVar(&a.secretKeyFile, "secret-key-file", os.Getenv("RAFTKMS_SECRET_KEY_FILE"), "File with the secret key, readable by its owner alone (RAFTKMS_SECRET_KEY_FILE).")
	set.StringVar(&a.project, "project", os.Getenv("RAFTKMS_PROJECT"), "Project id (RAFTKMS_PROJECT).")
}

// list splits at commas; nothing is the empty list.
func list(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(text, ",")
}

func (a *app) checkFlags() error {
	if !slices.Contains([]string{"table", "json"}, a.output) {
		return misuse("--output %q must be table or json", a.output)
	}
	return nil
}

// admin is the admin socket that the flags name.
func (a *app) admin() (*admin.Socket, error) {
	if a.config != "" {
		c, err := config.Load(a.config, os.Environ(), nil)
		if err != nil {
			return nil, err
		}
		return admin.Open(c.Node.AdminSocket), nil
	}
	if a.socket == "" && a.dev != "" {
		return devSocket(a.dev)
	}
	if a.socket == "" {
		return nil, misuse("which node? Give --socket, --config or --dev (or RAFTKMS_SOCKET, RAFTKMS_DEV)")
	}
	return admin.Open(a.socket), nil
}

// devSocket is the admin socket of the first node of a dev cluster that
// listens; when none does, the first node's, whose error says so.
func devSocket(path string) (*admin.Socket, error) {
	dev, err := devfile.Read(path)
	if err != nil {
		return nil, err
	}
	for _, node := range dev.Nodes {
		if conn, err := net.DialTimeout("unix", node.AdminSocket(), time.Second); err == nil {
			_ = conn.Close()
			return admin.Open(node.AdminSocket()), nil
		}
	}
	return admin.Open(dev.Nodes[0].AdminSocket()), nil
}

// client is the API client that the flags describe.
func (a *app) client() (*client.Client, error) {
	if a.dev != "" {
		return client.NewFromDevFile(a.dev)
	}
	if len(a.urls) == 0 || a.accessKey == "" || a.secretKeyFile == "" || a.project == "" {
		return nil, misuse("which cluster? Give --dev, or --url, --access-key, --secret-key-file and --project")
	}
	secretKey, err := config.ReadSecret(a.secretKeyFile, os.Getenv("CREDENTIALS_DIRECTORY"))
	if err != nil {
		return nil, err
	}
	cfg, err := a.reach()
	if err != nil {
		return nil, err
	}
	cfg.AccessKey, cfg.SecretKey = a.accessKey, string(secretKey)
	return client.New(cfg)
}

// reach is where the flags say that the cluster is, without who is calling.
func (a *app) reach() (client.Config, error) {
	if a.dev != "" {
		cfg, err := client.ReadDevFile(a.dev)
		cfg.AccessKey, cfg.SecretKey = "", ""
		return cfg, err
	}
	if len(a.urls) == 0 || a.project == "" {
		return client.Config{}, misuse("which cluster? Give --dev, or --url and --project")
	}
	cfg := client.Config{Endpoints: a.urls, ProjectID: a.project}
	if a.ca != "" {
		pool, err := client.ReadCA(a.ca)
		if err != nil {
			return client.Config{}, err
		}
		cfg.CA = pool
	}
	return cfg, nil
}

// print shows a result: as JSON, or as rows of a table, the first one its head.
func (a *app) print(cmd *cobra.Command, value any, rows [][]string) error {
	if a.output == "json" {
		encoder := json.NewEncoder(cmd.OutOrStdout())
		encoder.SetIndent("", "  ")
		return encoder.Encode(value)
	}
	table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	for _, row := range rows {
		fmt.Fprintln(table, strings.TrimRight(strings.Join(row, "\t"), "\t"))
	}
	return table.Flush()
}

// Input is bounded: a plaintext has 4096 bytes, a token or ciphertext few more.
const maxInputBytes = 64 << 10

// readInput reads a file, or standard input for "-".
func readInput(cmd *cobra.Command, name string) ([]byte, error) {
	in := cmd.InOrStdin()
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return nil, fmt.Errorf("opening the input: %w", err)
		}
		defer file.Close()
		in = file
	}
	text, err := io.ReadAll(io.LimitReader(in, maxInputBytes+1))
	if err != nil {
		return nil, fmt.Errorf("reading the input: %w", err)
	}
	if len(text) > maxInputBytes {
		return nil, errors.New("reading the input: it is larger than 64 KiB")
	}
	return text, nil
}
