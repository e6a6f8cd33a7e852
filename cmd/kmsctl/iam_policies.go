package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/raftkms/raftkms/client"
)

func (a *app) policyCommands() *cobra.Command {
	return group("policy", "Policies: JSON documents of Version and Statement", a.savePolicyCommand("create NAME", "Make a policy of a JSON document; it holds for nobody yet", false),
		a.savePolicyCommand("update NAME", "Replace a policy, wherever it holds, on every node at once", true),
		a.listPoliciesCommand(), a.showPolicyCommand(),
		a.doCommand("delete", "Remove a policy that holds nowhere", "deleted", []string{"POLICY"}, func(ctx context.Context, i client.Identities, args []string) error {
			id, err := policyID(ctx, i, args[0])
			if err != nil {
				return err
			}
			return i.DeletePolicy(ctx, id)
		}))
}

// savePolicyCommand makes a policy, or replaces the one of that name.
func (a *app) savePolicyCommand(use, short string, replace bool) *cobra.Command {
	var description, file string
	cmd := &cobra.Command{
		Use: use, Short: short, Args: exactly("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			document, err := readInput(cmd, file)
			if err != nil {
				return err
			}
			if !json.Valid(document) {
				return misuse("the document is not JSON")
			}
			return a.withIdentities(func(i client.Identities) error {
				var p client.Policy
				if !replace {
					p, err = i.CreatePolicy(cmd.Context(), args[0], description, document)
				} else {
					var found []client.Policy
					if found, err = i.Policies(cmd.Context(), args[0]); err == nil && len(found) != 1 {
						err = fmt.Errorf("the account has no policy %q", args[0])
					}
					if err != nil {
						return err
					}
					if !cmd.Flags().Changed("description") {
						description = found[0].Description
					}
					p, err = i.UpdatePolicy(cmd.Context(), found[0].ID, args[0], description, document)
				}
				if err != nil {
					return err
				}
				return a.print(cmd, p, [][]string{{p.ID}})
			})
		},
	}
	cmd.Flags().StringVar(&description, "description", "", "What it is for.")
	cmd.Flags().StringVar(&file, "file", "-", "JSON file of the document; - is standard input.")
	return cmd
}

func (a *app) listPoliciesCommand() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the policies of the system and of the account", Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withIdentities(func(i client.Identities) error {
				policies, err := i.Policies(cmd.Context(), "")
				if err != nil {
					return err
				}
				rows := [][]string{{"ID", "NAME", "DESCRIPTION"}}
				for _, p := range policies {
					id := p.ID
					if p.DomainID == "" {
						id = "(system)"
					}
					rows = append(rows, []string{id, p.Name, p.Description})
				}
				return a.print(cmd, policies, rows)
			})
		},
	}
}

func (a *app) showPolicyCommand() *cobra.Command {
	return &cobra.Command{
		Use: "show NAME", Short: "Show a policy's document", Args: exactly("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withIdentities(func(i client.Identities) error {
				found, err := i.Policies(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				if len(found) != 1 {
					return fmt.Errorf("the account has no policy %q", args[0])
				}
				var document any
				if err := json.Unmarshal(found[0].Policy, &document); err != nil {
					return err
				}
				text, err := json.MarshalIndent(document, "", "  ")
				if err != nil {
					return err
				}
				return a.print(cmd, found[0], [][]string{{string(text)}})
			})
		},
	}
}

// holderFlags say for whom and where a policy holds.
type holderFlags struct{ user, group, in string }

func (h *holderFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&h.user, "user", "", "The user, by name or id.")
	cmd.Flags().StringVar(&h.group, "group", "", "The group, by name or id.")
	cmd.Flags().StringVar(&h.in, "in-project", "", "The project, by name or id; absent: the account and all of its projects.")
}

// holder finds them; whole says that none of the two may be meant, too.
func (h *holderFlags) holder(ctx context.Context, i client.Identities, whole bool) (client.Holder, error) {
	var holder client.Holder
	if h.user != "" && h.group != "" || !whole && h.user == "" && h.group == "" {
		return holder, misuse("for whom? Give --user or --group")
	}
	var err error
	if h.user != "" {
		holder.UserID, err = userID(ctx, i, h.user)
	}
	if err == nil && h.group != "" {
		holder.GroupID, err = groupID(ctx, i, h.group)
	}
	if err == nil && h.in != "" {
		holder.ProjectID, err = projectID(ctx, i, h.in)
	}
	if err != nil || h.in != "" || whole {
		return holder, err
	}
	projects, err := i.Projects(ctx, "")
	if err == nil && len(projects) == 0 {
		err = fmt.Errorf("the account has no project, by which its id is known")
	}
	if err == nil {
		holder.AccountID = projects[0].DomainID
	}
	return holder, err
}

func (a *app) assignCommands() *cobra.Command {
	change := func(use, short, done string, do func(i client.Identities, ctx context.Context, policyID string, h client.Holder) error) *cobra.Command {
		var flags holderFlags
		cmd := a.doCommand(use, short, done, []string{"POLICY"}, func(ctx context.Context, i client.Identities, args []string) error {
			id, err := policyID(ctx, i, args[0])
			if err != nil {
				return err
			}
			h, err := flags.holder(ctx, i, false)
			if err != nil {
				return err
			}
			return do(i, ctx, id, h)
		})
		flags.add(cmd)
		return cmd
	}
	return group("role", "Where policies hold: assign, revoke, list",
		change("assign", "Have a policy hold for a user or a group", "assigned", client.Identities.Assign),
		change("revoke", "Take that back, on every node at once", "revoked", client.Identities.Revoke),
		a.listAssignmentsCommand())
}

// placeOf says where a policy holds.
func placeOf(as client.Assignment) string {
	if as.Scope.Project == nil {
		return "all projects"
	}
	return as.Scope.Project.Name
}

func (a *app) listAssignmentsCommand() *cobra.Command {
	var flags holderFlags
	cmd := &cobra.Command{
		Use: "list", Short: "List which policies hold for whom, of the account or of one user or group", Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withIdentities(func(i client.Identities) error {
				h, err := flags.holder(cmd.Context(), i, true)
				if err != nil {
					return err
				}
				all, err := i.Assignments(cmd.Context(), h)
				if err != nil {
					return err
				}
				rows := [][]string{{"POLICY", "FOR", "NAME", "IN"}}
				for _, as := range all {
					kind, who := "user", as.User
					if as.Group != nil {
						kind, who = "group", as.Group
					}
					rows = append(rows, []string{as.Role.Name, kind, who.Name, placeOf(as)})
				}
				return a.print(cmd, all, rows)
			})
		},
	}
	flags.add(cmd)
	return cmd
}

func (a *app) explainCommand() *cobra.Command {
	var q client.Question
	var user, project string
	cmd := &cobra.Command{
		Use: "explain", Short: "Say whether a user may do something, and which statement of which policy says so", Args: exactly(),
		Example: "  kmsctl iam explain --user ada --action kms:dek:crypto --key alias/payroll",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if user == "" || q.Action == "" {
				return misuse("give --user and --action")
			}
			return a.withClient(func(c *client.Client) error {
				i := c.Identities()
				id, err := userID(cmd.Context(), i, user)
				if err != nil {
					return err
				}
				if strings.HasPrefix(q.Action, "kms:") {
					q.ProjectID = c.ProjectID()
				}
				if project != "" {
					if q.ProjectID, err = projectID(cmd.Context(), i, project); err != nil {
						return err
					}
				}
				e, err := i.Explain(cmd.Context(), id, q)
				if err != nil {
					return err
				}
				return a.print(cmd, e, explanationRows(e))
			})
		},
	}
	cmd.Flags().StringVar(&user, "user", "", "The user, by name or id.")
	cmd.Flags().StringVar(&q.Action, "action", "", "The action, as policies name it: kms:dek:crypto.")
	cmd.Flags().StringVar(&q.Key, "key", "", "The key that it would be done with, by id or alias/NAME.")
	cmd.Flags().StringVar(&q.Operation, "operation", "", "The operation, as traces name it (decryptDatakey), where a grant may allow one of those that need the action; absent: any of them.")
	cmd.Flags().StringVar(&project, "in-project", "", "The project, by name or id; absent: that of --project for what is done with keys, else the account itself.")
	cmd.Flags().StringVar(&q.SourceIP, "source-ip", "", "Address that the user would come from.")
	cmd.Flags().BoolVar(&q.MFA, "mfa", false, "Whether the user would have shown a second factor.")
	return cmd
}

func explanationRows(e client.Explanation) [][]string {
	answer := "no"
	if e.Allowed {
		answer = "yes"
	}
	rows := [][]string{{"USER", e.User}, {"ACTION", e.Action}, {"MAY", answer}, {"DECIDED BY", e.DecidedBy}}
	if e.Policy != "" {
		holds := "the user"
		if e.Group != "" {
			holds = "the group " + e.Group
		}
		place := "all projects"
		if e.ProjectID != "" {
			place = e.ProjectID
		}
		rows = append(rows, []string{"POLICY", e.Policy}, []string{"STATEMENT", strconv.Itoa(e.Statement)}, []string{"EFFECT", e.Effect},
			[]string{"HOLDS FOR", holds}, []string{"HOLDS IN", place})
	}
	if e.Reason != "" {
		rows = append(rows, []string{"REASON", e.Reason})
	}
	return rows
}
