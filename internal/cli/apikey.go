// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/lazuli-dev/lazuli/internal/wire"
)

func (a *app) apiKeyCommand() *cobra.Command {
	return group(&cobra.Command{Use: "apikey", Aliases: []string{"apikeys"}, Short: "Keys that programs use the hub with"},
		a.apiKeyCreate(), a.apiKeyList(), a.apiKeyDelete())
}

// apiKeyCreate writes the key to a file: it is a secret, and is told once. The
// file is made first, so that no key is made that nobody can keep.
func (a *app) apiKeyCreate() *cobra.Command {
	var file string
	var expires time.Duration
	cmd := &cobra.Command{
		Use: "create NAME", Short: "Make a key of your own and write it to a file", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			switch {
			case file == "":
				return usagef("--output FILE is required: the key is told once, and never printed")
			case expires < 0:
				return usagef("--expires %s is over already", expires)
			}
			var until time.Time
			if expires > 0 {
				until = time.Now().Add(expires)
			}
			c, err := a.connect(cmd.Context())
			if err != nil {
				return err
			}
			defer c.Close()
			f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
			if err != nil {
				return fmt.Errorf("make the file of the key: %w", err)
			}
			uid, key, err := c.CreateAPIKey(cmd.Context(), args[0], until)
			if err != nil {
				return errors.Join(err, f.Close(), os.Remove(file))
			}
			_, err = io.WriteString(f, key.Reveal()+"\n")
			if err = errors.Join(err, f.Close()); err != nil {
				return fmt.Errorf("write API key %s, which is there and lost (delete it): %w", uid, err)
			}
			return a.printf("API key %s created: %s; it is in %s\n", args[0], uid, file)
		},
	}
	cmd.Flags().StringVarP(&file, "output", "o", "", "new file for the key, for this user alone")
	cmd.Flags().DurationVar(&expires, "expires", 0, "how long it holds, as 720h (default: until it is deleted)")
	return cmd
}

func apiKeyRows(items []wire.APIKey, now time.Time) [][]string {
	rows := make([][]string, 0, len(items))
	for _, k := range items {
		row := []string{"", "", "", "revoked", "never", ""}
		if m := k.Metadata; m != nil {
			row[0], row[1], row[5] = m.Name, m.UID, age(m.CreationTimestamp.Time, now)
		}
		if k.Status != nil && k.Status.IsActive {
			row[3] = "active"
		}
		if s := k.Spec; s != nil {
			if s.User != nil {
				row[2] = s.User.FirstName
			}
			if at := s.Expiry; !at.IsZero() {
				row[4] = at.UTC().Format(time.RFC3339)
				if !now.Before(at.Time) {
					row[3] = "over"
				}
			}
		}
		rows = append(rows, row)
	}
	return rows
}

func (a *app) apiKeyList() *cobra.Command {
	var form string
	cmd := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List keys, never the keys themselves", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.connect(cmd.Context())
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

func (a *app) apiKeyDelete() *cobra.Command {
	return &cobra.Command{
		Use: "delete NAME", Aliases: []string{"rm"}, Short: "End a key at once", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.connect(cmd.Context())
			if err != nil {
				return err
			}
			defer c.Close()
			items, err := c.APIKeys(cmd.Context())
			if err != nil {
				return err
			}
			k, err := found(items, "API key", args[0], func(k wire.APIKey) (string, string) {
				if k.Metadata == nil {
					return "", ""
				}
				return k.Metadata.Name, k.Metadata.UID
			})
			if err != nil {
				return err
			}
			if err := c.DeleteAPIKey(cmd.Context(), k.Metadata.UID); err != nil {
				return err
			}
			return a.printf("API key %s deleted\n", k.Metadata.Name)
		},
	}
}
