package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/raftkms/raftkms/client"
)

// addUnderFlags gives a command the flags that say what something is encrypted
// under, besides the key. prefix tells two sets of them apart.
func addUnderFlags(cmd *cobra.Command, u *client.Under, prefix string) {
	set := cmd.Flags()
	set.StringVar(&u.Algorithm, prefix+"algorithm", "", "Encryption algorithm of an asymmetric key: RSAES_OAEP_SHA_256, RSAES_OAEP_SHA_1 or SM2_ENCRYPT.")
	set.IntVar(&u.Version, prefix+"key-version", 0, "Version of an asymmetric key; the first when absent.")
	set.StringToStringVar(&u.Context, prefix+"context", nil, "What the ciphertext is bound to, NAME=VALUE,...; opening it takes the same.")
	set.StringVar(&u.AAD, prefix+"aad", "", "A text that the ciphertext is bound to in place of a context, as the vendor's clients do (additional_authenticated_data).")
}

func (a *app) encryptCommand() *cobra.Command {
	var u client.Under
	cmd := &cobra.Command{
		Use:   "encrypt KEY [FILE]",
		Short: "Encrypt 1 to 4096 bytes of text from a file or standard input, to base64",
		Long:  "Encrypt 1 to 4096 bytes of text from a file or standard input, to base64. Asymmetric keys take fewer bytes, and --algorithm.",
		Args:  oneOrTwo("KEY"),
		RunE: func(cmd *cobra.Command, args []string) error {
			u.Key = args[0]
			plaintext, err := readInput(cmd, inputName(args[1:]))
			if err != nil {
				return err
			}
			defer clear(plaintext)
			return a.withClient(func(c *client.Client) error {
				ciphertext, err := c.EncryptDataUnder(cmd.Context(), plaintext, u)
				if err != nil {
					return err
				}
				text := base64.StdEncoding.EncodeToString(ciphertext)
				return a.print(cmd, map[string]string{"ciphertext": text}, [][]string{{text}})
			})
		},
	}
	addUnderFlags(cmd, &u, "")
	return cmd
}

func (a *app) decryptCommand() *cobra.Command {
	var u client.Under
	cmd := &cobra.Command{
		Use:   "decrypt [FILE]",
		Short: "Decrypt base64 from a file or standard input to the very bytes that were encrypted",
		Long: "Decrypt base64 from a file or standard input to the very bytes that were encrypted. A ciphertext of a symmetric key names its key;\n" +
			"one of an asymmetric key does not, and takes --key and --algorithm.",
		Args: atMostOne("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if u.Algorithm != "" && u.Key == "" {
				return misuse("which key? A ciphertext of an asymmetric key does not say: give --key")
			}
			ciphertext, err := readEncoded(cmd, inputName(args), base64.StdEncoding.DecodeString, "base64")
			if err != nil {
				return err
			}
			return a.withClient(func(c *client.Client) error {
				plaintext, key, err := c.DecryptDataUnder(cmd.Context(), ciphertext, u)
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
	cmd.Flags().StringVar(&u.Key, "key", "", "Key that the ciphertext must be of; needed with --algorithm.")
	addUnderFlags(cmd, &u, "")
	return cmd
}

// readEncoded reads a ciphertext.
func readEncoded(cmd *cobra.Command, name string, decode func(string) ([]byte, error), encoding string) ([]byte, error) {
	text, err := readInput(cmd, name)
	if err != nil {
		return nil, err
	}
	ciphertext, err := decode(string(bytes.TrimSpace(text)))
	if err != nil {
		return nil, misuse("the ciphertext is not %s", encoding)
	}
	return ciphertext, nil
}

func (a *app) reEncryptCommand() *cobra.Command {
	var from, to client.Under
	var size int
	cmd := &cobra.Command{
		Use:   "reencrypt KEY [FILE]",
		Short: "Move a ciphertext from a file or standard input under another key, without its plaintext being seen",
		Long: "Move a ciphertext in base64, of `kmsctl encrypt`, from a file or standard input under another key, the newest version of its own, or\n" +
			"another context, without its plaintext being seen. With --datakey-bytes the ciphertext is one of a data key, in hex. The flags with\n" +
			"--from- say what it is under now, those without what it is to be under.",
		Args: oneOrTwo("KEY"),
		RunE: func(cmd *cobra.Command, args []string) error {
			to.Key = args[0]
			if from.Algorithm != "" && from.Key == "" {
				return misuse("which key is it under? A ciphertext of an asymmetric key does not say: give --from")
			}
			decode, encode, encoding := base64.StdEncoding.DecodeString, base64.StdEncoding.EncodeToString, "base64"
			dataKey := cmd.Flags().Changed("datakey-bytes")
			if dataKey {
				decode, encode, encoding = hex.DecodeString, hex.EncodeToString, "hex"
			}
			ciphertext, err := readEncoded(cmd, inputName(args[1:]), decode, encoding)
			if err != nil {
				return err
			}
			return a.withClient(func(c *client.Client) error {
				var moved client.ReEncrypted
				if dataKey {
					moved, err = c.ReEncryptDataKey(cmd.Context(), ciphertext, size, from, to)
				} else {
					moved, err = c.ReEncryptData(cmd.Context(), ciphertext, from, to)
				}
				if err != nil {
					return err
				}
				text := encode(moved.Ciphertext)
				return a.print(cmd, map[string]string{"ciphertext": text, "key_id": moved.KeyID, "from_key_id": moved.From}, [][]string{{text}})
			})
		},
	}
	cmd.Flags().StringVar(&from.Key, "from", "", "Key that the ciphertext is under; needed with --from-algorithm.")
	cmd.Flags().IntVar(&size, "datakey-bytes", 32, "Size of the data key in the ciphertext.")
	addUnderFlags(cmd, &from, "from-")
	addUnderFlags(cmd, &to, "")
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
