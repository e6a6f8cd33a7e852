package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/raftkms/raftkms/client"
)

// macFlags are what mac and verify-mac have in common.
type macFlags struct{ algorithm string }

func (f *macFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.algorithm, "algorithm", "", "MAC algorithm; the one of the key's spec when absent.")
}

var macAlgorithms = map[string]string{
	"HMAC_256": "HMAC_SHA_256", "HMAC_384": "HMAC_SHA_384", "HMAC_512": "HMAC_SHA_512", "HMAC_SM3": "HMAC_SM3",
}

func (f *macFlags) choose(ctx context.Context, c *client.Client, key string) error {
	if f.algorithm != "" {
		return nil
	}
	k, err := c.DescribeKey(ctx, key)
	if err != nil {
		return err
	}
	if f.algorithm = macAlgorithms[k.Spec]; f.algorithm == "" {
		return fmt.Errorf("keys of the spec %s make no MACs", k.Spec)
	}
	return nil
}

func (a *app) macCommand() *cobra.Command {
	var f macFlags
	cmd := &cobra.Command{
		Use:   "mac KEY [FILE]",
		Short: "Make the MAC of 1 to 4096 bytes of a file or standard input, in hex",
		Args:  oneOrTwo("KEY"),
		RunE: func(cmd *cobra.Command, args []string) error {
			message, err := readInput(cmd, inputName(args[1:]))
			if err != nil {
				return err
			}
			return a.withClient(func(c *client.Client) error {
				if err := f.choose(cmd.Context(), c, args[0]); err != nil {
					return err
				}
				mac, err := c.GenerateMAC(cmd.Context(), args[0], message, f.algorithm)
				if err != nil {
					return err
				}
				text := hex.EncodeToString(mac)
				return a.print(cmd, map[string]string{"mac": text, "algorithm": f.algorithm}, [][]string{{text}})
			})
		},
	}
	f.add(cmd)
	return cmd
}

func (a *app) verifyMACCommand() *cobra.Command {
	var f macFlags
	var file string
	cmd := &cobra.Command{
		Use:   "verify-mac KEY [FILE]",
		Short: "Tell whether a MAC is the key's of a file or standard input; if not, the exit status is 1",
		Args:  oneOrTwo("KEY"),
		RunE: func(cmd *cobra.Command, args []string) error {
			mac, err := readProof(cmd, "--mac-file", file, args[1:], hex.DecodeString)
			if err != nil {
				return err
			}
			message, err := readInput(cmd, inputName(args[1:]))
			if err != nil {
				return err
			}
			return a.withClient(func(c *client.Client) error {
				if err := f.choose(cmd.Context(), c, args[0]); err != nil {
					return err
				}
				valid, err := c.VerifyMAC(cmd.Context(), args[0], message, mac, f.algorithm)
				return a.judge(cmd, valid, err, errors.New("the MAC is not that of the message"))
			})
		},
	}
	f.add(cmd)
	cmd.Flags().StringVar(&file, "mac-file", "", "File with the MAC in hex, - is standard input.")
	return cmd
}
