package main

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/raftkms/raftkms/client"
)

// tagCommands are the labels on keys.
func (a *app) tagCommands() *cobra.Command {
	list := &cobra.Command{Use: "list KEY", Short: "Show the tags of a key", Args: exactly("KEY"), RunE: func(cmd *cobra.Command, args []string) error {
		return a.withClient(func(c *client.Client) error {
			tags, err := c.Tags(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			rows := [][]string{{"TAG", "VALUE"}}
			for _, name := range slices.Sorted(maps.Keys(tags)) {
				rows = append(rows, []string{name, tags[name]})
			}
			return a.print(cmd, tags, rows)
		})
	}}
	set := &cobra.Command{Use: "set KEY TAG=VALUE...", Short: "Add tags to a key, or give them other values", Args: atLeast(2, "KEY", "TAG=VALUE"), RunE: func(cmd *cobra.Command, args []string) error {
		tags := make(map[string]string)
		for _, pair := range args[1:] {
			name, value, ok := strings.Cut(pair, "=")
			if _, twice := tags[name]; !ok || name == "" || twice {
				return misuse("%q is not TAG=VALUE, or is there twice", pair)
			}
			tags[name] = value
		}
		return a.withClient(func(c *client.Client) error {
			if err := c.SetTags(cmd.Context(), args[0], tags); err != nil {
				return err
			}
			return a.print(cmd, tags, [][]string{{"done"}})
		})
	}}
	remove := &cobra.Command{Use: "remove KEY TAG...", Short: "Take tags from a key", Args: atLeast(2, "KEY", "TAG"), RunE: func(cmd *cobra.Command, args []string) error {
		return a.withClient(func(c *client.Client) error {
			if err := c.RemoveTags(cmd.Context(), args[0], args[1:]...); err != nil {
				return err
			}
			return a.print(cmd, args[1:], [][]string{{"done"}})
		})
	}}
	all := &cobra.Command{Use: "all", Short: "Show the tags of all keys of the project", Args: exactly(), RunE: func(cmd *cobra.Command, _ []string) error {
		return a.withClient(func(c *client.Client) error {
			tags, err := c.ProjectTags(cmd.Context())
			if err != nil {
				return err
			}
			rows := [][]string{{"TAG", "VALUES"}}
			for _, name := range slices.Sorted(maps.Keys(tags)) {
				rows = append(rows, []string{name, strings.Join(tags[name], ",")})
			}
			return a.print(cmd, tags, rows)
		})
	}}
	return group("tag", "Labels on keys", list, set, remove, all)
}

// findKeysCommand looks for keys by what they are called and labelled.
func (a *app) findKeysCommand() *cobra.Command {
	var s client.KeySearch
	var pairs []string
	var count bool
	cmd := &cobra.Command{
		Use: "find", Short: "Show the keys that have all of some tags, or a name with a part in it, newest first", Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			s.Tags = make(map[string][]string)
			for _, pair := range pairs {
				name, value, valued := strings.Cut(pair, "=")
				if name == "" {
					return misuse("%q is neither TAG nor TAG=VALUE", pair)
				}
				if s.Tags[name] = slices.Clone(s.Tags[name]); valued {
					s.Tags[name] = append(s.Tags[name], value)
				}
			}
			return a.withClient(func(c *client.Client) error {
				if count {
					n, err := c.CountFound(cmd.Context(), s)
					if err != nil {
						return err
					}
					return a.print(cmd, map[string]int{"found": n}, [][]string{{strconv.Itoa(n)}})
				}
				keys := []client.Key{}
				for {
					page, _, err := c.FindKeys(cmd.Context(), s, len(keys), pageSize)
					if err != nil {
						return err
					}
					if keys = append(keys, page...); len(page) < pageSize {
						return a.printKeys(cmd, keys)
					}
				}
			})
		},
	}
	cmd.Flags().StringArrayVar(&pairs, "tag", nil, "TAG=VALUE, or TAG for any value; of a tag that is given twice either value.")
	cmd.Flags().StringVar(&s.Name, "name", "", "A part of the name.")
	cmd.Flags().BoolVar(&count, "count", false, "Show how many they are.")
	return cmd
}

// quotaTypes are the names of quotas on the command line and on the wire.
var quotaTypes = map[string]string{"keys": "CMK", "grants": "grant_per_CMK", "tags": "tag_per_CMK", "total-grants": "grant_per_project"}

// quotaCommands are how much a project may have.
func (a *app) quotaCommands() *cobra.Command {
	show := func(cmd *cobra.Command, quotas []client.Quota) error {
		rows := [][]string{{"QUOTA", "USED", "MOST"}}
		for _, q := range quotas {
			rows = append(rows, []string{q.Type, strconv.Itoa(q.Used), strconv.Itoa(q.Quota)})
		}
		return a.print(cmd, quotas, rows)
	}
	get := &cobra.Command{Use: "get", Short: "Show what the project has and may have; per key: the key that has most", Args: exactly(), RunE: func(cmd *cobra.Command, _ []string) error {
		return a.withClient(func(c *client.Client) error {
			quotas, err := c.Quotas(cmd.Context())
			if err != nil {
				return err
			}
			return show(cmd, quotas)
		})
	}}
	project := ""
	set := &cobra.Command{Use: "set keys=N|grants=N|tags=N|total-grants=N...", Short: "Change the quotas of a project; for administrators of the system", Args: atLeast(1, "NAME=N"), RunE: func(cmd *cobra.Command, args []string) error {
		quotas := make(map[string]int)
		for _, pair := range args {
			name, text, _ := strings.Cut(pair, "=")
			n, err := strconv.Atoi(text)
			if quotaTypes[name] == "" || err != nil || n < 0 {
				return misuse("%q is not keys=N, grants=N, tags=N or total-grants=N", pair)
			}
			quotas[quotaTypes[name]] = n
		}
		return a.withClient(func(c *client.Client) error {
			changed, err := c.SetQuotas(cmd.Context(), project, quotas)
			if err != nil {
				return err
			}
			return show(cmd, changed)
		})
	}}
	set.Flags().StringVar(&project, "of", "", "The project; the own one when absent.")
	return group("quota", "How many keys a project may have, tags and grants a key, and grants all keys", get, set)
}

// atLeast wants n arguments or more.
func atLeast(n int, names ...string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) < n {
			return misuse("expected the arguments %v, but %d given", names, len(args))
		}
		return nil
	}
}
