package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/spf13/cobra"

	"github.com/raftkms/raftkms/client"
)

func addVersionFlag(cmd *cobra.Command, version *int) {
	cmd.Flags().IntVar(version, "key-version", 0, "Version of an asymmetric key; the first when absent.")
}

// signFlags are what sign and verify have in common.
type signFlags struct {
	o      client.SignOptions
	digest bool
}

func (f *signFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.o.Algorithm, "algorithm", "", "Signing algorithm; the one of the key's spec when absent, RSASSA_PSS_SHA_256 of RSA keys.")
	cmd.Flags().BoolVar(&f.digest, "digest", false, "The input is the digest of the message, in hex.")
	addVersionFlag(cmd, &f.o.Version)
}

// message is what is sent to be signed of the input: the digest, which is made
// here of a message of any size, or where the algorithm needs it the message.
func (f *signFlags) message(cmd *cobra.Command, c *client.Client, key, name string) ([]byte, error) {
	if f.o.Algorithm == "" {
		k, err := c.DescribeKey(cmd.Context(), key)
		if err != nil {
			return nil, err
		}
		if f.o.Algorithm = signingAlgorithms[k.Spec]; f.o.Algorithm == "" {
			return nil, fmt.Errorf("keys of the spec %s do not sign", k.Spec)
		}
	}
	switch {
	case f.digest:
		text, err := readInput(cmd, name)
		if err != nil {
			return nil, err
		}
		digest, err := hex.DecodeString(string(bytes.TrimSpace(text)))
		if err != nil {
			return nil, misuse("the digest is not hex")
		}
		return digest, nil
	case f.o.Algorithm == "SM2DSA_SM3":
		public, err := c.PublicKey(cmd.Context(), key, f.o.Version)
		if err != nil {
			return nil, err
		}
		sum, err := client.SM2SigningHash(public)
		if err != nil {
			return nil, err
		}
		return hashInput(cmd, name, sum)
	case client.SigningHash(f.o.Algorithm) == 0:
		f.o.Raw = true
		return readInput(cmd, name)
	default:
		return hashInput(cmd, name, client.SigningHash(f.o.Algorithm).New())
	}
}

// hashInput hashes a file of any size, or standard input.
func hashInput(cmd *cobra.Command, name string, sum hash.Hash) ([]byte, error) {
	in, _, err := openSource(cmd, name)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	if _, err := io.Copy(sum, &interruptible{ctx: cmd.Context(), r: in}); err != nil {
		return nil, fmt.Errorf("reading the input: %w", err)
	}
	return sum.Sum(nil), nil
}

// signingAlgorithms are the specs' algorithms where none is named.
var signingAlgorithms = map[string]string{
	"RSA_2048": "RSASSA_PSS_SHA_256", "RSA_3072": "RSASSA_PSS_SHA_256", "RSA_4096": "RSASSA_PSS_SHA_256",
	"EC_P256": "ECDSA_SHA_256", "SECP256K1": "ECDSA_SHA_256", "EC_P384": "ECDSA_SHA_384", "EC_P521": "ECDSA_SHA_512",
	"ED25519": "ED25519", "SM2": "SM2DSA_SM3",
}

func (a *app) signCommand() *cobra.Command {
	var f signFlags
	cmd := &cobra.Command{
		Use:   "sign KEY [FILE]",
		Short: "Sign a file or standard input with an asymmetric key, to base64",
		Long: "Sign a file or standard input, of any size, with an asymmetric key, to base64. The file is hashed here and its digest is sent;\n" +
			"keys of the spec ED25519 sign messages of at most 4095 bytes, which are sent.",
		Args: oneOrTwo("KEY"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withClient(func(c *client.Client) error {
				message, err := f.message(cmd, c, args[0], inputName(args[1:]))
				if err != nil {
					return err
				}
				signature, err := c.Sign(cmd.Context(), args[0], message, f.o)
				if err != nil {
					return err
				}
				text := base64.StdEncoding.EncodeToString(signature)
				return a.print(cmd, map[string]string{"signature": text, "algorithm": f.o.Algorithm}, [][]string{{text}})
			})
		},
	}
	f.add(cmd)
	return cmd
}

func (a *app) verifySignatureCommand() *cobra.Command {
	var f signFlags
	var file string
	cmd := &cobra.Command{
		Use:   "verify KEY [FILE]",
		Short: "Tell whether a signature is one of the key over a file or standard input; if not, the exit status is 1",
		Args:  oneOrTwo("KEY"),
		RunE: func(cmd *cobra.Command, args []string) error {
			signature, err := readProof(cmd, "--signature-file", file, args[1:], base64.StdEncoding.DecodeString)
			if err != nil {
				return err
			}
			return a.withClient(func(c *client.Client) error {
				message, err := f.message(cmd, c, args[0], inputName(args[1:]))
				if err != nil {
					return err
				}
				valid, err := c.Verify(cmd.Context(), args[0], message, signature, f.o)
				return a.judge(cmd, valid, err, errors.New("the signature does not hold"))
			})
		},
	}
	f.add(cmd)
	cmd.Flags().StringVar(&file, "signature-file", "", "File with the signature in base64, - is standard input.")
	return cmd
}

// readProof reads a signature or a MAC; args are the FILE that it is about.
func readProof(cmd *cobra.Command, flag, name string, args []string, decode func(string) ([]byte, error)) ([]byte, error) {
	switch {
	case name == "":
		return nil, misuse("what is to be verified? Give %s", flag)
	case name == "-" && inputName(args) == "-":
		return nil, misuse("standard input cannot be both what %s names and FILE", flag)
	}
	text, err := readInput(cmd, name)
	if err != nil {
		return nil, err
	}
	proof, err := decode(string(bytes.TrimSpace(text)))
	if err != nil {
		return nil, misuse("what %s names is in another encoding", flag)
	}
	return proof, nil
}

// judge shows a verdict, and is an error if it is a bad one.
func (a *app) judge(cmd *cobra.Command, valid bool, err, bad error) error {
	if err != nil {
		return err
	}
	if a.output == "json" || valid {
		if err := a.print(cmd, map[string]bool{"valid": valid}, [][]string{{"valid"}}); err != nil {
			return err
		}
	}
	if !valid {
		return bad
	}
	return nil
}

func (a *app) publicKeyCommand() *cobra.Command {
	var version int
	cmd := &cobra.Command{
		Use:   "public KEY",
		Short: "Show the public half of an asymmetric key, in PEM",
		Args:  exactly("KEY"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withClient(func(c *client.Client) error {
				der, err := c.PublicKey(cmd.Context(), args[0], version)
				if err != nil {
					return err
				}
				text := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
				if a.output == "json" {
					return a.print(cmd, map[string]string{"public_key": string(text)}, nil)
				}
				_, err = cmd.OutOrStdout().Write(text)
				return err
			})
		},
	}
	addVersionFlag(cmd, &version)
	return cmd
}
