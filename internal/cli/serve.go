// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/lazuli-dev/lazuli/internal/server"
)

// serveFlags are the keys of the configuration that have a flag of their own.
func serveFlags() []struct{ flag, key, usage string } {
	return []struct{ flag, key, usage string }{
		{"listen", "listen", "address and port of the API"},
		{"data-dir", "dataDir", "directory of all state"},
		{"tls-cert-file", "tls.certFile", "PEM file of the API's certificate; without one the hub makes its own"},
		{"tls-key-file", "tls.keyFile", "PEM file of the certificate's key"},
		{"log-level", "log.level", "debug, info, warn or error"},
		{"log-format", "log.format", "text or json"},
	}
}

func (a *app) serveCommand() *cobra.Command {
	var file string
	var show bool
	var set []string
	cmd := &cobra.Command{
		Use: "serve", Short: "Run the hub", Args: cobra.NoArgs,
		Long: `Run the hub until SIGINT or SIGTERM.

Configuration: flags over environment over file over defaults. Every key is a path such as tls.certFile;
its environment variable is LAZULI_ and the path in upper case, LAZULI_TLS_CERTFILE. --print-config shows all.`,
	}
	flags := cmd.Flags()
	flags.StringVar(&file, "config", "", "YAML file (LAZULI_CONFIG)")
	flags.BoolVar(&show, "print-config", false, "print the configuration in force, with the meaning of each key, and exit")
	flags.StringArrayVar(&set, "set", nil, "KEY=VALUE for any key; may be given again")
	for _, f := range serveFlags() {
		flags.String(f.flag, "", f.usage)
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		over := map[string]string{}
		for _, f := range serveFlags() {
			if cmd.Flags().Changed(f.flag) {
				over[f.key] = cmd.Flags().Lookup(f.flag).Value.String()
			}
		}
		for _, s := range set {
			key, value, ok := strings.Cut(s, "=")
			if !ok {
				return usagef("--set %q is not KEY=VALUE", s)
			}
			over[key] = value
		}
		cfg, err := server.LoadConfig(first(file, a.getenv("LAZULI_CONFIG")), a.getenv, over)
		if err != nil {
			return &usageError{err: err}
		}
		if show {
			return server.PrintConfig(a.out, cfg)
		}
		hub, err := server.New(cmd.Context(), cfg, Version, a.errOut)
		if err != nil {
			return err
		}
		a.note("lazuli %s serves at %s; its data is in %s\n", Version, hub.URL(), cfg.DataDir)
		if cfg.Admin.APIKey == "" {
			a.note("the administrator's first API key is in %s\n", cfg.AdminKeyFile())
		}
		if p := hub.FirstPassword(); !p.Empty() {
			a.note("the user admin signs in with the password %s\nit is shown this once: change it after the first sign-in\n", p.Reveal())
		}
		a.atHub(hub)
		return hub.Run(cmd.Context())
	}
	return cmd
}
