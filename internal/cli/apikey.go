// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lazuli-dev/lazuli/internal/client"
	"github.com/lazuli-dev/lazuli/internal/wire"
)

func (a *app) apiKeyCommand() *cobra.Command {
	return group(&cobra.Command{Use: "apikey", Aliases: []string{"apikeys"}, Short: "API keys: what scripts, Terraform and this command act with"},
		a.apiKeyCreate(), a.apiKeyList(), a.apiKeyRevoke(), a.apiKeyDelete())
}

// apiKeyCreate writes the key to a file: it is a secret, and is told once. The
// file is made first, so that no key is made that nobody can keep.
func (a *app) apiKeyCreate() *cobra.Command {
	var user, project, file string
	var lasts time.Duration
	cmd := &cobra.Command{
		Use: "create NAME", Short: "Make an API key and write it to a file", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case file == "":
				return usagef("--output FILE is required: the key is told once, and never printed")
			case lasts < 0:
				return usagef("--lasts %s is over already", lasts)
			}
			ctx := cmd.Context()
			c, err := a.connectTenant()
			if err != nil {
				return err
			}
			defer c.Close()
			k := client.NewAPIKey{Name: args[0]}
			if lasts > 0 {
				k.Expiry = wire.At(time.Now().Add(lasts))
			}
			if user != "" {
				if k.UserUID, err = findUser(ctx, c, user); err != nil {
					return err
				}
			}
			if project != "" {
				if k.ProjectUID, err = findProject(ctx, c, project); err != nil {
					return err
				}
			}
			f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
			if err != nil {
				return fmt.Errorf("make the file of the key: %w", err)
			}
			uid, key, err := c.CreateAPIKey(ctx, k)
			if err != nil {
				return errors.Join(err, f.Close(), os.Remove(file))
			}
			_, err = io.WriteString(f, key.Reveal()+"\n")
			if err = errors.Join(err, f.Close()); err != nil {
				return fmt.Errorf("write API key %s, which is there and lost (delete it): %w", uid, err)
			}
			return a.printf("API key %s created: %s; it is in %s\n", k.Name, uid, file)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&user, "user", "", "name to sign in with, or uid, of the user that the key acts as (default: yourself)")
	flags.StringVar(&project, "bind-project", "", "the one project that the key acts in (default: all that its user may)")
	flags.DurationVar(&lasts, "lasts", 0, "how long it holds, such as 720h (default: until it is revoked)")
	flags.StringVarP(&file, "output", "o", "", "new file for the key, for this user alone")
	return cmd
}

func (a *app) apiKeyList() *cobra.Command {
	var form string
	cmd := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List API keys, never the keys themselves", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.connectTenant()
			if err != nil {
				return err
			}
			defer c.Close()
			items, err := c.APIKeys(cmd.Context())
			if err != nil {
				return err
			}
			return a.print(form, items, []string{"NAME", "UID", "USER", "STATE", "EXPIRES", "AGE"}, apiKeyRows(items, time.Now()))
		},
	}
	outputFlag(cmd, &form)
	return cmd
}

func apiKeyRows(items []wire.APIKey, now time.Time) [][]string {
	rows := make([][]string, 0, len(items))
	for _, k := range items {
		user, state, expires := "", "Active", ""
		if k.Spec != nil {
			if u := k.Spec.User; u != nil {
				user = strings.TrimSpace(u.FirstName + " " + u.LastName)
			}
			if !k.Spec.Expiry.IsZero() {
				expires = k.Spec.Expiry.UTC().Format(time.RFC3339)
			}
		}
		if k.Status == nil || !k.Status.IsActive {
			state = "Revoked"
			if expires != "" && !now.Before(k.Spec.Expiry.Time) {
				state = "Expired"
			}
		}
		name, uid, made := headOf(k.Metadata)
		rows = append(rows, []string{name, uid, user, state, expires, age(made, now)})
	}
	return rows
}

func (a *app) apiKeyRevoke() *cobra.Command {
	return a.apiKeyEnd(&cobra.Command{Use: "revoke NAME", Short: "End an API key at once, and keep it in the list"}, "revoked", (*client.Client).RevokeAPIKey)
}

func (a *app) apiKeyDelete() *cobra.Command {
	return a.apiKeyEnd(&cobra.Command{Use: "delete NAME", Aliases: []string{"rm"}, Short: "End an API key at once, and forget it"},
		"deleted", (*client.Client).DeleteAPIKey)
}

// apiKeyEnd completes a command that does something to one key.
func (a *app) apiKeyEnd(cmd *cobra.Command, done string, act func(*client.Client, context.Context, string) error) *cobra.Command {
	cmd.Args = cobra.ExactArgs(1)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx := cmd.Context()
		c, err := a.connectTenant()
		if err != nil {
			return err
		}
		defer c.Close()
		items, err := c.APIKeys(ctx)
		if err != nil {
			return err
		}
		k, err := found(items, "API key", args[0], func(k wire.APIKey) (string, string) {
			name, uid, _ := headOf(k.Metadata)
			return name, uid
		})
		if err != nil {
			return err
		}
		name, uid, _ := headOf(k.Metadata)
		if err := act(c, ctx, uid); err != nil {
			return err
		}
		return a.printf("API key %s %s\n", name, done)
	}
	return cmd
}

// headOf is what objects are shown with.
func headOf(m *wire.ObjectMeta) (name, uid string, made time.Time) {
	if m == nil {
		return "", "", time.Time{}
	}
	return m.Name, m.UID, m.CreationTimestamp.Time
}
