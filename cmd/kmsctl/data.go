package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/raftkms/raftkms/client"
)

func (a *app) dataKeyCommands() *cobra.Command {
	return group("datakey", "Make data keys and open them", a.createDataKeyCommand(), a.openDataKeyCommand())
}

// addDataKeyFlags gives a command the flags that shape a data key.
func addDataKeyFlags(cmd *cobra.Command, o *client.DataKeyOptions) {
	cmd.Flags().IntVar(&o.Bytes, "bytes", 32, "Size of the data key, 1 to 1024.")
	addContextFlag(cmd, &o.Context)
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

func (a *app) encryptCommand() *cobra.Command {
	var context map[string]string
	cmd := &cobra.Command{
		Use:   "encrypt KEY [FILE]",
		Short: "Encrypt 1 to 4096 bytes of text from a file or standard input, to base64",
		Args:  oneOrTwo("KEY"),
		RunE: func(cmd *cobra.Command, args []string) error {
			plaintext, err := readInput(cmd, inputName(args[1:]))
			if err != nil {
				return err
			}
			defer clear(plaintext)
			return a.withClient(func(c *client.Client) error {
				ciphertext, err := c.EncryptData(cmd.Context(), args[0], plaintext, context)
				if err != nil {
					return err
				}
				text := base64.StdEncoding.EncodeToString(ciphertext)
				return a.print(cmd, map[string]string{"ciphertext": text}, [][]string{{text}})
			})
		},
	}
	addContextFlag(cmd, &context)
	return cmd
}

func (a *app) decryptCommand() *cobra.Command {
	var context map[string]string
	cmd := &cobra.Command{
		Use:   "decrypt [FILE]",
		Short: "Decrypt base64 from a file or standard input to the very bytes that were encrypted",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return misuse("expected at most one FILE, but %d arguments given", len(args))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			text, err := readInput(cmd, inputName(args))
			if err != nil {
				return err
			}
			ciphertext, err := base64.StdEncoding.AppendDecode(nil, bytes.TrimSpace(text))
			if err != nil {
				return misuse("the ciphertext is not base64")
			}
			return a.withClient(func(c *client.Client) error {
				plaintext, key, err := c.DecryptData(cmd.Context(), ciphertext, context)
				if err != nil {
					return err
				}
				defer clear(plaintext)
				if a.output == "json" {
					return a.print(cmd, map[string]any{"key_id": key, "plaintext_base64": plaintext}, nil)
				}
				_, err = cmd.OutOrStdout().Write(plaintext)
				return err
			})
		},
	}
	addContextFlag(cmd, &context)
	return cmd
}

func (a *app) randomCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "random BYTES",
		Short: "Show 1 to 1024 random bytes of the cluster's modules, in hex",
		Args:  exactly("BYTES"),
		RunE: func(cmd *cobra.Command, args []string) error {
			n, err := strconv.Atoi(args[0])
			if err != nil || n < 1 || n > 1024 {
				return misuse("BYTES %q must be a number from 1 to 1024", args[0])
			}
			return a.withClient(func(c *client.Client) error {
				random, err := c.Random(cmd.Context(), n)
				if err != nil {
					return err
				}
				text := hex.EncodeToString(random)
				return a.print(cmd, map[string]string{"random": text}, [][]string{{text}})
			})
		},
	}
}

func oneOrTwo(name string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) < 1 || len(args) > 2 {
			return misuse("expected %s and at most one FILE, but %d arguments given", name, len(args))
		}
		return nil
	}
}

// inputName is the file that the arguments name, standard input without one.
func inputName(args []string) string {
	if len(args) == 0 {
		return "-"
	}
	return args[0]
}
