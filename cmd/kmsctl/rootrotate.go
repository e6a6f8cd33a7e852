package main

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/raftkms/raftkms/server/wire"
)

// rotatePause is how long a rotation that another node works on is left alone
// between two looks.
const rotatePause = time.Second

func (a *app) rotateRootsCommand() *cobra.Command {
	var pinFile string
	var retire, endTokens, status, begin, abort bool
	cmd := &cobra.Command{
		Use:   "rotate",
		Short: "Give the cluster new root keys, put everything under them, and destroy the old ones",
		Long: "Give the cluster new root keys. They are made in this node's module and go, wrapped, module to module, to every node,\n" +
			"without anybody comparing fingerprints: each module proves that it holds the keys in use. When all hold them they come\n" +
			"into use, and everything that is under the old ones is put under them, inside the modules, while all nodes serve. Asked\n" +
			"again, on any node that holds the new keys, it goes on from where it was.\n\n" +
			"The old root keys stay until --retire: then every module destroys them. That is refused while anything is under them.\n" +
			"Tokens of users are for a day, unless --end-tokens ends them; imports that were begun end within a day. What is under\n" +
			"them outside the cluster is lost with them: backups of the state from before the rotation. So keep a backup of the\n" +
			"old root keys (`kmsctl root backup`, made before) as long as such backups, and make one of the new ones.\n\n" +
			"New root keys that cannot come to every node, or that a lost node has made, can be given up with --abort as long as they\n" +
			"are not in use.\n\n" +
			"With pkcs11 modules the security officer's PIN of this node's token is asked for, or read from a file: the new keys\n" +
			"leave the token under it, and keys of the level HSM change roots by way of a key that the officer marks as trusted for\n" +
			"as long as that takes.",
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			given := 0
			for _, one := range []bool{status, begin, retire, abort} {
				if one {
					given++
				}
			}
			if given > 1 || endTokens && !retire {
				return misuse("give one of --status, --begin, --retire and --abort, and --end-tokens with --retire")
			}
			s, err := a.admin()
			if err != nil {
				return err
			}
			ctx := cmd.Context()
			show := func(reply wire.RotateRootsReply) error { return a.print(cmd, reply, rotationRows(reply)) }
			if status || retire || abort {
				r := wire.RotateRootsRequest{Action: wire.RootsStatus, EndTokens: endTokens}
				if retire {
					r.Action = wire.RootsRetire
				}
				if abort {
					r.Action = wire.RootsAbort
				}
				reply, err := s.RotateRoots(ctx, r)
				if err != nil {
					return err
				}
				return show(reply)
			}
			pin, err := officerPIN(ctx, s, pinFile)
			if err != nil {
				return err
			}
			defer clear(pin)
			reply, err := s.RotateRoots(ctx, wire.RotateRootsRequest{Action: wire.RootsBegin, OfficerPIN: string(pin)})
			if err != nil {
				return err
			}
			if begin {
				return show(reply)
			}
			shown := newStepProgress(cmd.ErrOrStderr(), "under new root keys")
			defer shown.done()
			for total := reply.Remaining; reply.Old != 0 && reply.Remaining > 0; {
				before := reply.Remaining
				if reply, err = s.RotateRoots(ctx, wire.RotateRootsRequest{Action: wire.RootsRewrap, OfficerPIN: string(pin)}); err != nil {
					return fmt.Errorf("the rotation has not ended; asked again, it goes on from there: %w", err)
				}
				total = max(total, reply.Remaining)
				shown.at(total-reply.Remaining, total)
				if reply.Remaining == 0 || reply.Remaining < before {
					continue
				}
				if len(reply.Failures) > 0 || reply.Blocked > 0 {
					break
				}
				select {
				case <-ctx.Done():
					return ctx.Err()
				case <-time.After(rotatePause):
				}
			}
			shown.done()
			if err := show(reply); err != nil {
				return err
			}
			switch {
			case len(reply.Failures) > 0:
				return errors.New("something does not open under the old root keys, and stays under them: see above, and `kmsctl root verify`")
			case reply.Remaining > 0:
				return errors.New("something is still under the old root keys: give the security officer's PIN, and go on")
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&begin, "begin", false, "Only bring the new root keys into use; the leader goes on by itself as far as its module lets it.")
	cmd.Flags().BoolVar(&status, "status", false, "Only say how far a rotation is.")
	cmd.Flags().BoolVar(&retire, "retire", false, "Have every module destroy the old root keys.")
	cmd.Flags().BoolVar(&abort, "abort", false, "Give up new root keys that were made and are not in use yet, for instance since the node that made them is lost.")
	cmd.Flags().BoolVar(&endTokens, "end-tokens", false, "With --retire: end the tokens of users that are under the old root keys.")
	officerPINFlag(cmd, &pinFile)
	return cmd
}

func rotationRows(r wire.RotateRootsReply) [][]string {
	number := func(n uint32) string { return strconv.FormatUint(uint64(n), 10) }
	rows := [][]string{{"ROOT KEYS", number(r.Generation)}}
	if r.Next != 0 {
		rows = append(rows, []string{"STAGED", number(r.Next)})
	}
	for _, node := range r.Waiting {
		rows = append(rows, []string{"", "node " + node + " does not hold them yet"})
	}
	if r.Old != 0 {
		rows = append(rows, []string{"OLD", number(r.Old), "since " + r.Since})
		rows = append(rows, []string{"LEFT", strconv.Itoa(r.Remaining), fmt.Sprintf("of %d records, and %d imports that end by themselves", r.Records, r.Imports)})
	}
	if r.Blocked > 0 {
		rows = append(rows, []string{"BLOCKED", strconv.Itoa(r.Blocked), "until the security officer gives leave"})
	}
	for _, f := range r.Failures {
		rows = append(rows, []string{"", f.What + " " + f.ID + ": " + f.Problem})
	}
	if r.Old != 0 && r.Remaining == 0 {
		rows = append(rows, []string{"", "nothing of the cluster is under the old root keys; `kmsctl root rotate --retire` has them destroyed"})
	}
	return rows
}
