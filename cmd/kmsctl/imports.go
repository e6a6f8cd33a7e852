package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/raftkms/raftkms/client"
	"github.com/raftkms/raftkms/client/wrapping"
)

// importCommands bring keys the material that their owners have.
func (a *app) importCommands() []*cobra.Command {
	return []*cobra.Command{
		a.importCommand(), a.importParametersCommand(), a.wrapCommand(), a.importWrappedCommand(),
		a.changeCommand("delete-material KEY", "Take the imported material from a symmetric key; the same can be imported again", func(ctx context.Context, c *client.Client, args []string) error {
			return c.DeleteMaterial(ctx, args[0])
		}, "KEY"),
	}
}

// parcel is what travels between the cluster and the place of the material:
// the parameters of an import on the way there, and with the wrapped material
// on the way back. Nothing of it is secret.
type parcel struct {
	client.ImportParameters
	Spec string `json:"spec"`
	wrapping.Wrapped
}

// material is a file with the key material of an import.
type material struct{ form string }

func (m *material) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&m.form, "form", "raw", "Form of the material of a symmetric key: raw, hex or base64. A private key is PEM or DER.")
}

// wrap reads the material and wraps it as the parcel says.
func (m *material) wrap(cmd *cobra.Command, p *parcel, name string) error {
	decode, known := map[string]func([]byte) ([]byte, error){
		"raw":    func(raw []byte) ([]byte, error) { return bytes.Clone(raw), nil },
		"hex":    func(text []byte) ([]byte, error) { return hex.AppendDecode(nil, bytes.TrimSpace(text)) },
		"base64": func(text []byte) ([]byte, error) { return base64.StdEncoding.AppendDecode(nil, bytes.TrimSpace(text)) },
	}[m.form]
	if !known {
		return misuse("--form %q must be raw, hex or base64", m.form)
	}
	wrap := wrapping.Secret
	if isPair(p.Spec) {
		decode, wrap = wrapping.ReadPrivateKey, wrapping.PrivateKey
	}
	text, err := readInput(cmd, name)
	if err != nil {
		return err
	}
	defer clear(text)
	secret, err := decode(text)
	defer clear(secret)
	if err != nil {
		if !isPair(p.Spec) {
			err = misuse("the material is not %s", m.form) // and not a word about what it is
		}
		return err
	}
	p.Wrapped, err = wrap(p.Algorithm, p.PublicKey, secret)
	return err
}

// isPair tells the specs of asymmetric keys from those of symmetric ones.
func isPair(spec string) bool {
	return !strings.HasPrefix(spec, "AES_") && !strings.HasPrefix(spec, "HMAC_") && spec != "SM4"
}

// expiry is when material is deleted.
type expiry struct{ text string }

func (e *expiry) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&e.text, "expires", "", "When the material of a symmetric key is deleted: a time as 2006-01-02T15:04:05Z, or in so long, e.g. 720h; never when absent.")
}

func (e *expiry) at() (time.Time, error) {
	if e.text == "" {
		return time.Time{}, nil
	}
	if in, err := time.ParseDuration(e.text); err == nil {
		return time.Now().Add(in), nil
	}
	at, err := time.Parse(time.RFC3339, e.text)
	if err != nil {
		return at, misuse("--expires %q is neither a time like 2006-01-02T15:04:05Z nor a duration like 720h", e.text)
	}
	return at, nil
}

func addWrappingFlag(cmd *cobra.Command, algorithm *string) {
	cmd.Flags().StringVar(algorithm, "wrapping", wrapping.OAEPSHA256, "Wrapping algorithm: "+wrapping.OAEPSHA256+", "+wrapping.OAEPSHA1+" or "+wrapping.PKCS1v15+".")
}

// parameters asks for those of a key's import.
func parameters(ctx context.Context, c *client.Client, key, algorithm string) (*parcel, error) {
	k, err := c.DescribeKey(ctx, key)
	if err != nil {
		return nil, err
	}
	p, err := c.ImportParameters(ctx, k.ID, algorithm)
	return &parcel{ImportParameters: p, Spec: k.Spec}, err
}

// bring imports what the parcel holds and shows the key.
func (a *app) bring(cmd *cobra.Command, c *client.Client, p *parcel, expires time.Time) error {
	if err := c.ImportMaterial(cmd.Context(), p.ImportParameters, p.Wrapped, expires); err != nil {
		return err
	}
	k, err := c.DescribeKey(cmd.Context(), p.KeyID)
	if err != nil {
		return err
	}
	return a.print(cmd, k, [][]string{{k.ID, k.State.String()}})
}

func (a *app) importCommand() *cobra.Command {
	var (
		m         material
		e         expiry
		k         client.NewKey
		algorithm string
		create    bool
	)
	cmd := &cobra.Command{
		Use:   "import KEY [FILE]",
		Short: "Give a key of the origin external its material, from a file or standard input",
		Long: "Give a key of the origin external its material, from a file or standard input: the bytes of a symmetric key, or the private key of an\n" +
			"asymmetric one (PEM, or DER of PKCS #8). It is wrapped here, under a key that the cluster's module has made for it.\n" +
			"With --create KEY is the name of a key that is made before.\n\n" +
			"Material on a machine without a network is imported by `kmsctl key import-parameters`, `kmsctl key wrap` (there) and\n" +
			"`kmsctl key import-wrapped`.",
		Args: oneOrTwo("KEY"),
		RunE: func(cmd *cobra.Command, args []string) error {
			expires, err := e.at()
			if err != nil {
				return err
			}
			for _, flag := range []string{"description", "protection-level", "protect", "spec", "usage"} {
				if cmd.Flags().Changed(flag) && !create {
					return misuse("--%s is for a key that is made, with --create", flag)
				}
			}
			return a.withClient(func(c *client.Client) error {
				key := args[0]
				if create {
					k.Name, k.Origin = key, "external"
					if key, err = c.CreateKey(cmd.Context(), k); err != nil {
						return err
					}
				}
				err := func() error {
					p, err := parameters(cmd.Context(), c, key, algorithm)
					if err == nil {
						err = m.wrap(cmd, p, inputName(args[1:]))
					}
					if err != nil {
						return err
					}
					return a.bring(cmd, c, p, expires)
				}()
				if err != nil && create {
					err = fmt.Errorf("the key %s was made, but it has no material yet; go on with it without --create: %w", key, err)
				}
				return err
			})
		},
	}
	m.add(cmd)
	e.add(cmd)
	addWrappingFlag(cmd, &algorithm)
	cmd.Flags().BoolVar(&create, "create", false, "Make a key with the name KEY; the flags of kmsctl key create say which.")
	addNewKeyFlags(cmd, &k)
	return cmd
}

func (a *app) importParametersCommand() *cobra.Command {
	var algorithm string
	cmd := &cobra.Command{
		Use:   "import-parameters KEY",
		Short: "Show, in JSON, what `kmsctl key wrap` wraps the material of a key with; it is good for a day",
		Args:  exactly("KEY"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withClient(func(c *client.Client) error {
				p, err := parameters(cmd.Context(), c, args[0], algorithm)
				if err != nil {
					return err
				}
				return printParcel(cmd, p)
			})
		},
	}
	addWrappingFlag(cmd, &algorithm)
	return cmd
}

func (a *app) wrapCommand() *cobra.Command {
	var m material
	cmd := &cobra.Command{
		Use:   "wrap PARAMETERS [FILE]",
		Short: "Wrap material from a file or standard input with the parameters of an import, in JSON; it needs no network",
		Args:  oneOrTwo("PARAMETERS"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if args[0] == "-" && inputName(args[1:]) == "-" {
				return misuse("standard input cannot be both PARAMETERS and FILE")
			}
			p, err := readParcel(cmd, args[0])
			if err != nil {
				return err
			}
			if err := m.wrap(cmd, p, inputName(args[1:])); err != nil {
				return err
			}
			return printParcel(cmd, p)
		},
	}
	m.add(cmd)
	return cmd
}

func (a *app) importWrappedCommand() *cobra.Command {
	var e expiry
	cmd := &cobra.Command{
		Use:   "import-wrapped [FILE]",
		Short: "Give a key the material that `kmsctl key wrap` has wrapped, from a file or standard input",
		Args:  atMostOne("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			expires, err := e.at()
			if err != nil {
				return err
			}
			p, err := readParcel(cmd, inputName(args))
			if err != nil {
				return err
			}
			if len(p.Material) == 0 {
				return misuse("there is no material in it: these are the parameters, which `kmsctl key wrap` takes first")
			}
			return a.withClient(func(c *client.Client) error { return a.bring(cmd, c, p, expires) })
		},
	}
	e.add(cmd)
	return cmd
}

func readParcel(cmd *cobra.Command, name string) (*parcel, error) {
	text, err := readInput(cmd, name)
	if err != nil {
		return nil, err
	}
	p := new(parcel)
	if err := json.Unmarshal(text, p); err != nil || p.KeyID == "" || p.Spec == "" || len(p.Token) == 0 {
		return nil, misuse("%s does not hold the parameters of an import", name)
	}
	return p, nil
}

// printParcel shows a parcel in JSON, whatever the form of other results.
func printParcel(cmd *cobra.Command, p *parcel) error {
	encoder := json.NewEncoder(cmd.OutOrStdout())
	encoder.SetIndent("", "  ")
	return encoder.Encode(p)
}
