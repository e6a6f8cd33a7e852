package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/raftkms/raftkms/client"
)

func (a *app) dataKeyCommands() *cobra.Command {
	return group("datakey", "Make data keys and open them", a.createDataKeyCommand(), a.openDataKeyCommand(), a.sealDataKeyCommand(), a.dataKeyPairCommand())
}

// addDataKeyFlags gives a command the flags that shape a data key.
func addDataKeyFlags(cmd *cobra.Command, o *client.DataKeyOptions) {
	cmd.Flags().IntVar(&o.Bytes, "bytes", 32, "Size of the data key, 1 to 1024.")
	addBindingFlags(cmd, o)
}

// addBindingFlags gives a command the flags of what the ciphertext is bound to.
func addBindingFlags(cmd *cobra.Command, o *client.DataKeyOptions) {
	addContextFlag(cmd, &o.Context)
	cmd.Flags().StringVar(&o.AAD, "aad", "", "A text that the ciphertext is bound to in place of a context, as the vendor's clients do (additional_authenticated_data).")
}

func addContextFlag(cmd *cobra.Command, context *map[string]string) {
	cmd.Flags().StringToStringVar(context, "context", nil, "What the ciphertext is bound to, NAME=VALUE,...; opening it takes the same.")
}

func (a *app) createDataKeyCommand() *cobra.Command {
	var o client.DataKeyOptions
	var hidden bool
	var count int
	cmd := &cobra.Command{
		Use:   "create KEY",
		Short: "Make a data key, or many, and show it, and its encryption, in hex",
		Args:  exactly("KEY"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withClient(func(c *client.Client) error {
				if cmd.Flags().Changed("count") {
					return a.createDataKeys(cmd, c, args[0], count, hidden, o)
				}
				create := c.CreateDataKey
				if hidden {
					create = c.CreateDataKeyWithoutPlaintext
				}
				k, err := create(cmd.Context(), args[0], o)
				if err != nil {
					return err
				}
				defer clear(k.Plaintext)
				result := map[string]string{"key_id": k.KeyID, "ciphertext": hex.EncodeToString(k.Ciphertext)}
				rows := [][]string{{"KEY", k.KeyID}, {"CIPHERTEXT", result["ciphertext"]}}
				if !hidden {
					result["plaintext"] = hex.EncodeToString(k.Plaintext)
					rows = append(rows, []string{"PLAINTEXT", result["plaintext"]})
				}
				return a.print(cmd, result, rows)
			})
		},
	}
	addDataKeyFlags(cmd, &o)
	cmd.Flags().BoolVar(&hidden, "without-plaintext", false, "Return the encrypted data key only.")
	cmd.Flags().IntVar(&count, "count", 1, "Make 1 to 1000 data keys by one request.")
	return cmd
}

func (a *app) createDataKeys(cmd *cobra.Command, c *client.Client, key string, count int, hidden bool, o client.DataKeyOptions) error {
	create := c.CreateDataKeys
	if hidden {
		create = c.CreateDataKeysWithoutPlaintext
	}
	keys, err := create(cmd.Context(), key, count, o)
	if err != nil {
		return err
	}
	result := make([]map[string]string, len(keys))
	rows := make([][]string, len(keys)) // without a heading: a line is a data key
	for i, k := range keys {
		result[i] = map[string]string{"key_id": k.KeyID, "ciphertext": hex.EncodeToString(k.Ciphertext)}
		rows[i] = []string{result[i]["ciphertext"]}
		if !hidden {
			result[i]["plaintext"] = hex.EncodeToString(k.Plaintext)
			rows[i] = append(rows[i], result[i]["plaintext"])
		}
		clear(k.Plaintext)
	}
	return a.print(cmd, result, rows)
}

func (a *app) openDataKeyCommand() *cobra.Command {
	var o client.DataKeyOptions
	cmd := &cobra.Command{
		Use:   "open KEY CIPHERTEXT",
		Short: "Show the data key that a ciphertext (hex; - is standard input) holds, in hex",
		Args:  exactly("KEY", "CIPHERTEXT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			text := []byte(args[1])
			if args[1] == "-" {
				var err error
				if text, err = readInput(cmd, "-"); err != nil {
					return err
				}
			}
			ciphertext, err := hex.DecodeString(strings.TrimSpace(string(text)))
			if err != nil {
				return misuse("the ciphertext is not hex")
			}
			return a.withClient(func(c *client.Client) error {
				k, err := c.DecryptDataKey(cmd.Context(), args[0], ciphertext, o)
				if err != nil {
					return err
				}
				defer clear(k)
				text := hex.EncodeToString(k)
				return a.print(cmd, map[string]string{"plaintext": text}, [][]string{{text}})
			})
		},
	}
	addDataKeyFlags(cmd, &o)
	return cmd
}

func (a *app) sealDataKeyCommand() *cobra.Command {
	var o client.DataKeyOptions
	cmd := &cobra.Command{
		Use:   "seal KEY [FILE]",
		Short: "Encrypt a data key of your own, in hex, from a file or standard input; the result is hex",
		Args:  oneOrTwo("KEY"),
		RunE: func(cmd *cobra.Command, args []string) error {
			text, err := readInput(cmd, inputName(args[1:]))
			if err != nil {
				return err
			}
			defer clear(text)
			dataKey, err := hex.AppendDecode(nil, bytes.TrimSpace(text))
			defer clear(dataKey)
			if err != nil {
				return misuse("the data key is not hex")
			}
			return a.withClient(func(c *client.Client) error {
				ciphertext, err := c.EncryptDataKey(cmd.Context(), args[0], dataKey, o)
				if err != nil {
					return err
				}
				result := hex.EncodeToString(ciphertext)
				return a.print(cmd, map[string]string{"ciphertext": result}, [][]string{{result}})
			})
		},
	}
	addBindingFlags(cmd, &o)
	return cmd
}

func (a *app) dataKeyPairCommand() *cobra.Command {
	var spec, publicOut, privateOut string
	var o client.DataKeyOptions
	var hidden, force bool
	cmd := &cobra.Command{
		Use:   "pair KEY",
		Short: "Make a pair for use outside, whose private key is encrypted under a symmetric key",
		Long: "Make a pair for use outside, whose private key is encrypted under a symmetric key, and show it in base64: the public key (DER\n" +
			"SubjectPublicKeyInfo), the ciphertext of the private key, which `kmsctl decrypt` opens, and the private key (DER PKCS #8).\n" +
			"What goes into a file is in PEM there, and not shown.",
		Args: exactly("KEY"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if hidden && privateOut != "" {
				return misuse("with --without-plaintext there is no private key for --private-out")
			}
			for _, name := range []string{publicOut, privateOut} {
				if err := absent(name, force); err != nil {
					return err
				}
			}
			return a.withClient(func(c *client.Client) error {
				create := c.CreateDataKeyPair
				if hidden {
					create = c.CreateDataKeyPairWithoutPlaintext
				}
				pair, err := create(cmd.Context(), args[0], spec, o)
				if err != nil {
					return err
				}
				defer clear(pair.Private)
				result := map[string]string{"key_id": pair.KeyID, "spec": pair.Spec, "ciphertext": base64.StdEncoding.EncodeToString(pair.Ciphertext)}
				rows := [][]string{{"KEY", pair.KeyID}, {"CIPHERTEXT", result["ciphertext"]}}
				for _, half := range []struct {
					name, kind, out string
					der             []byte
				}{{"public_key", "PUBLIC KEY", publicOut, pair.Public}, {"private_key", "PRIVATE KEY", privateOut, pair.Private}} {
					switch {
					case half.der == nil:
					case half.out != "":
						if err := writePEM(half.out, force, half.kind, half.der); err != nil {
							return err
						}
					default:
						result[half.name] = base64.StdEncoding.EncodeToString(half.der)
						rows = append(rows, []string{half.kind, result[half.name]})
					}
				}
				return a.print(cmd, result, rows)
			})
		},
	}
	cmd.Flags().StringVar(&spec, "spec", "ECC_NIST_P256", "RSA_2048, RSA_3072, RSA_4096, ECC_NIST_P256, ECC_NIST_P384, ECC_NIST_P521, ECC_SECG_P256K1 or SM2.")
	cmd.Flags().BoolVar(&hidden, "without-plaintext", false, "Return the private key encrypted only.")
	cmd.Flags().StringVar(&publicOut, "public-out", "", "File to write the public key to, in PEM.")
	cmd.Flags().StringVar(&privateOut, "private-out", "", "File to write the private key to, in PEM, readable by its owner alone.")
	cmd.Flags().BoolVar(&force, "force", false, "Replace these files if they exist.")
	addBindingFlags(cmd, &o)
	return cmd
}

// writePEM writes a key to a file that its owner alone reads.
func writePEM(name string, force bool, kind string, der []byte) error {
	text := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	defer clear(text)
	return replaceFile(name, force, func(w io.Writer) error {
		_, err := w.Write(text)
		return err
	})
}
