// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lazuli-dev/lazuli/internal/client"
	"github.com/lazuli-dev/lazuli/internal/wire"
)

func (a *app) userCommand() *cobra.Command {
	return group(&cobra.Command{Use: "user", Aliases: []string{"users"}, Short: "People who may use the hub"},
		a.userCreate(), a.userList())
}

func (a *app) userCreate() *cobra.Command {
	var in wire.UserSpecEntity
	cmd := &cobra.Command{
		Use: "create EMAIL", Short: "Add a user", Args: cobra.ExactArgs(1),
		Long: `Add a user. EMAIL is the name to sign in with; no mail is sent. The user has no password yet: give an API key
(apikey create NAME --user EMAIL -o FILE), or the link that GET /v1/users/{uid} shows to who may manage the user.`,
	}
	flags := cmd.Flags()
	flags.StringVar(&in.FirstName, "first-name", "", "first name")
	flags.StringVar(&in.LastName, "last-name", "", "last name")
	var roles []string
	flags.StringArrayVar(&roles, "role", nil, "name or uid of a role in the tenant, such as \"Tenant Viewer\"; may be given again")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		in.EmailID = args[0]
		ctx := cmd.Context()
		c, err := a.connectTenant()
		if err != nil {
			return err
		}
		defer c.Close()
		if in.Roles, err = findRoles(ctx, c, roles); err != nil {
			return err
		}
		uid, err := c.CreateUser(ctx, in)
		if err != nil {
			return err
		}
		return a.printf("user %s created: %s\n", in.EmailID, uid)
	}
	return cmd
}

func (a *app) userList() *cobra.Command {
	var form string
	cmd := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List users", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.connectTenant()
			if err != nil {
				return err
			}
			defer c.Close()
			items, err := c.Users(cmd.Context())
			if err != nil {
				return err
			}
			return a.print(form, items, []string{"EMAIL", "UID", "NAME", "ROLES", "TEAMS", "STATE", "AGE"}, userRows(items, time.Now()))
		},
	}
	outputFlag(cmd, &form)
	return cmd
}

func userRows(items []wire.UserSummary, now time.Time) [][]string {
	rows := make([][]string, 0, len(items))
	for _, u := range items {
		name, uid, made := headOf(u.Metadata)
		row := []string{"", uid, name, "", "", "Disabled", age(made, now)}
		if s := u.Spec; s != nil {
			row[0], row[3], row[4] = s.EmailID, namesOf(s.Roles), namesOf(s.Teams)
		}
		if u.Status != nil && u.Status.IsActive {
			row[5] = "Active"
		}
		rows = append(rows, row)
	}
	return rows
}

func namesOf(items []wire.UIDSummary) string {
	names := make([]string, 0, len(items))
	for _, x := range items {
		names = append(names, x.Name)
	}
	return strings.Join(names, ", ")
}

// findUser is the uid of who signs in with a name.
func findUser(ctx context.Context, c *client.Client, want string) (string, error) {
	items, err := c.Users(ctx)
	if err != nil {
		return "", err
	}
	head := func(u wire.UserSummary) (string, string) {
		_, uid, _ := headOf(u.Metadata)
		if u.Spec == nil {
			return "", uid
		}
		return u.Spec.EmailID, uid
	}
	u, err := found(items, "user", want, head)
	_, uid := head(u)
	return uid, err
}

// findRoles is the uids of roles.
func findRoles(ctx context.Context, c *client.Client, want []string) ([]string, error) {
	if len(want) == 0 {
		return nil, nil
	}
	items, err := c.Roles(ctx)
	if err != nil {
		return nil, err
	}
	head := func(r wire.Role) (string, string) {
		name, uid, _ := headOf(r.Metadata)
		return name, uid
	}
	uids := make([]string, 0, len(want))
	for _, w := range want {
		r, err := found(items, "role", w, head)
		if err != nil {
			return nil, err
		}
		_, uid := head(r)
		uids = append(uids, uid)
	}
	return uids, nil
}
