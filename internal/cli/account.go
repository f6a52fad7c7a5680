// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/cli/manifest"
	"github.com/lazuli-dev/lazuli/internal/palette"
)

// credentialFlags are what an application registration is known by. The secret
// has no flag of its own: process lists would show it.
type credentialFlags struct{ tenant, client, secretFile, environment string }

func (f *credentialFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.tenant, "tenant-id", "", "tenant of Entra ID (AZURE_TENANT_ID)")
	flags.StringVar(&f.client, "client-id", "", "application id (AZURE_CLIENT_ID)")
	flags.StringVar(&f.secretFile, "client-secret-file", "", "file that holds the client secret (or AZURE_CLIENT_SECRET)")
	flags.StringVar(&f.environment, "environment", palette.EnvironmentPublic, "Azure environment")
}

// document reads the flags as the manifest they stand for.
func (f *credentialFlags) document(a *app, name string) (manifest.Document, error) {
	secret := a.getenv("AZURE_CLIENT_SECRET")
	if f.secretFile != "" {
		b, err := os.ReadFile(f.secretFile)
		if err != nil {
			return manifest.Document{}, fmt.Errorf("read client secret: %w", err)
		}
		secret = strings.TrimSpace(string(b))
	}
	account := &manifest.CloudAccount{
		TenantID: first(f.tenant, a.getenv("AZURE_TENANT_ID")), ClientID: first(f.client, a.getenv("AZURE_CLIENT_ID")),
		ClientSecret: lazuli.NewSecret(secret), Environment: f.environment,
	}
	for _, x := range []struct{ flag, env, value string }{
		{"--tenant-id", "AZURE_TENANT_ID", account.TenantID},
		{"--client-id", "AZURE_CLIENT_ID", account.ClientID},
		{"--client-secret-file", "AZURE_CLIENT_SECRET", secret},
	} {
		if x.value == "" {
			return manifest.Document{}, usagef("%s or %s is required", x.flag, x.env)
		}
	}
	return manifest.Document{Kind: manifest.KindCloudAccount, Name: name, Account: account}, nil
}

func (a *app) accountCommand() *cobra.Command {
	return group(&cobra.Command{Use: "account", Aliases: []string{"accounts"}, Short: "Azure credentials that clusters are made with"},
		a.accountCreate(), a.accountList(), a.accountGet(), a.accountDelete(), a.accountValidate())
}

func (a *app) accountCreate() *cobra.Command {
	var f credentialFlags
	cmd := &cobra.Command{
		Use: "create NAME", Short: "Check and store a credential", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			doc, err := f.document(a, args[0])
			if err != nil {
				return err
			}
			c, err := a.connect(cmd.Context())
			if err != nil {
				return err
			}
			defer c.Close()
			uid, err := c.CreateAccount(cmd.Context(), doc.AccountRequest())
			if err != nil {
				return err
			}
			return a.printf("cloud account %s created: %s\n", args[0], uid)
		},
	}
	f.add(cmd)
	return cmd
}

func (a *app) accountValidate() *cobra.Command {
	var f credentialFlags
	cmd := &cobra.Command{
		Use: "validate", Short: "Check a credential without storing it", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			doc, err := f.document(a, "")
			if err != nil {
				return err
			}
			c, err := a.connect(cmd.Context())
			if err != nil {
				return err
			}
			defer c.Close()
			if err := c.ValidateAccount(cmd.Context(), *doc.AccountRequest().Spec); err != nil {
				return err
			}
			return a.printf("the credential is good\n")
		},
	}
	f.add(cmd)
	return cmd
}

func accountRows(items []palette.AzureAccount, now time.Time) [][]string {
	rows := make([][]string, 0, len(items))
	for _, x := range items {
		row := []string{x.Metadata.Name, x.Metadata.UID, "", "", "", age(x.Metadata.CreationTimestamp.Time, now)}
		if x.Spec != nil {
			row[2], row[3], row[4] = x.Spec.AzureEnvironment, x.Spec.TenantID, x.Spec.ClientID
		}
		rows = append(rows, row)
	}
	return rows
}

func accountHead() []string {
	return []string{"NAME", "UID", "ENVIRONMENT", "TENANT", "CLIENT", "AGE"}
}

func (a *app) accountList() *cobra.Command {
	var form string
	cmd := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List credentials", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.connect(cmd.Context())
			if err != nil {
				return err
			}
			defer c.Close()
			items, err := c.Accounts(cmd.Context())
			if err != nil {
				return err
			}
			return a.print(form, items, accountHead(), accountRows(items, time.Now()))
		},
	}
	outputFlag(cmd, &form)
	return cmd
}

func (a *app) accountGet() *cobra.Command {
	var form string
	cmd := &cobra.Command{
		Use: "get NAME", Short: "Show a credential, never its secret", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.connect(cmd.Context())
			if err != nil {
				return err
			}
			defer c.Close()
			x, err := findAccount(cmd.Context(), c, args[0])
			if err != nil {
				return err
			}
			return a.print(form, x, accountHead(), accountRows([]palette.AzureAccount{x}, time.Now()))
		},
	}
	outputFlag(cmd, &form)
	return cmd
}

func (a *app) accountDelete() *cobra.Command {
	return &cobra.Command{
		Use: "delete NAME", Aliases: []string{"rm"}, Short: "Forget a credential that no cluster uses",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.connect(cmd.Context())
			if err != nil {
				return err
			}
			defer c.Close()
			x, err := findAccount(cmd.Context(), c, args[0])
			if err != nil {
				return err
			}
			if err := c.DeleteAccount(cmd.Context(), x.Metadata.UID); err != nil {
				return err
			}
			return a.printf("cloud account %s deleted\n", x.Metadata.Name)
		},
	}
}
