// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/azuresim"
	"github.com/lazuli-dev/lazuli/internal/azuresim/vm"
	"github.com/lazuli-dev/lazuli/internal/palette"
	"github.com/lazuli-dev/lazuli/internal/server"
)

// What simulated Azure holds at the start. The ids are the same each time, so
// that scripts may know them; the secret opens nothing but a simulation.
const (
	simTenant       = "11111111-1111-4111-8111-111111111111"
	simSubscription = "22222222-2222-4222-8222-222222222222"
	simClient       = "33333333-3333-4333-8333-333333333333"
	simObject       = "44444444-4444-4444-8444-444444444444"
	simSecret       = "simulated-client-secret"
	simGroup        = "lazuli-demo"
	simLocation     = "westeurope"
)

const (
	defaultSpeed     = 20
	simCAName        = "azure-ca.crt"
	anyLoopbackPort  = "127.0.0.1:0"
	defaultSimListen = "127.0.0.1:9444"
)

// simOptions are what a user can choose of a simulator.
type simOptions struct {
	listen string
	speed  float64
	seed   uint64
	nodes  string
	cache  string // directory of node images, for levels that boot one
}

func (o *simOptions) add(cmd *cobra.Command) {
	cmd.Flags().Float64Var(&o.speed, "speed", 0, fmt.Sprintf(
		"how much faster than Azure, 1 is as slow as Azure (default %d; %d where nodes are real and boot in their own time)", defaultSpeed, realSpeed))
	cmd.Flags().Uint64Var(&o.seed, "seed", 1, "decides every latency and id")
	cmd.Flags().StringVar(&o.nodes, "nodes", nodesModel, "how real machines are: model (all of it modelled), process (real control planes, hollow kubelets), "+
		"vm (real systemd, cloud-init, kubeadm and kubelet; needs root and the node image of simnode/)")
}

// settle checks what was asked for and fills in what depends on it.
func (o *simOptions) settle(cmd *cobra.Command, getenv func(string) string) (err error) {
	switch {
	case cmd.Flags().Changed("speed"):
		if o.speed <= 0 {
			return usagef("--speed %v is not above 0", o.speed)
		}
	case o.nodes == nodesModel:
		o.speed = defaultSpeed
	default:
		o.speed = realSpeed
	}
	if o.nodes != nodesModel {
		if o.cache, err = vm.DefaultCache(getenv); err != nil {
			return err
		}
	}
	return o.able(cmd.Context())
}

// simulated is a simulator that listens.
type simulated struct {
	sim       *azuresim.Simulator
	end       func() error // of the machines' level
	authority *azuresim.Authority
	listener  net.Listener
	url       string
	caFile    string
}

// newSimulated makes a simulator with one tenant, subscription, principal and
// resource group, and listens. It writes its CA certificate into dir.
func newSimulated(ctx context.Context, o simOptions, dir string, log *slog.Logger) (_ *simulated, err error) {
	var lc net.ListenConfig
	machines, end, err := o.machines(log)
	if err != nil {
		return nil, err
	}
	sim, err := azuresim.New(azuresim.Config{
		Seed: o.seed, Speed: o.speed, Machines: machines, Logger: log,
		Listen: lc.Listen, AccountingTag: lazuli.ClusterTag,
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make the simulator: %w", err), end())
	}
	s := &simulated{sim: sim, end: end}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if err := sim.Seed(simWorld()); err != nil {
		return nil, fmt.Errorf("fill the simulator: %w", err)
	}
	if s.listener, err = lc.Listen(ctx, "tcp", o.listen); err != nil {
		return nil, fmt.Errorf("listen for simulated Azure: %w", err)
	}
	if s.authority, err = azuresim.NewAuthority(); err != nil {
		return nil, fmt.Errorf("make the simulator's certificate: %w", err)
	}
	s.url = "https://" + s.listener.Addr().String()
	s.caFile = filepath.Join(dir, simCAName)
	return s, writePrivate(s.caFile, s.authority.CAPEM())
}

func simWorld() azuresim.World {
	return azuresim.World{
		Tenants: []azuresim.Tenant{{ID: simTenant, DisplayName: "Simulated", Domain: "simulated.onmicrosoft.com"}},
		Subscriptions: []azuresim.Subscription{
			{ID: simSubscription, TenantID: simTenant, DisplayName: "Simulated subscription"},
		},
		Principals: []azuresim.Principal{
			{TenantID: simTenant, ClientID: simClient, ObjectID: simObject, Name: "lazuli", Secret: simSecret},
		},
		RoleAssignments: []azuresim.RoleAssignment{
			{PrincipalID: simObject, Role: "Contributor", Scope: "/subscriptions/" + simSubscription},
		},
		ResourceGroups: []azuresim.ResourceGroup{
			{SubscriptionID: simSubscription, Name: simGroup, Location: simLocation},
		},
	}
}

// serve answers until ctx ends.
func (s *simulated) serve(ctx context.Context) error {
	return azuresim.Serve(ctx, s.listener, s.authority, s.sim)
}

func (s *simulated) close() error {
	s.sim.Close()
	err := s.end()
	if s.listener == nil {
		return err
	}
	if shut := s.listener.Close(); shut != nil && !errors.Is(shut, net.ErrClosed) {
		err = errors.Join(err, fmt.Errorf("close the simulator: %w", shut))
	}
	return err
}

// variables are how clients of Azure find the simulator.
func (s *simulated) variables() []variable {
	return []variable{
		{"AZURE_TENANT_ID", simTenant},
		{"AZURE_CLIENT_ID", simClient},
		{"AZURE_CLIENT_SECRET", simSecret},
		{"AZURE_SUBSCRIPTION_ID", simSubscription},
		{"AZURE_RESOURCE_GROUP", simGroup},
		{"AZURE_LOCATION", simLocation},
		{"AZURE_ARM_URL", s.url},
		{"AZURE_AUTHORITY_URL", s.url},
		{"AZURE_CA_FILE", s.caFile},
	}
}

// hubVariables lead a hub on this machine to the simulator.
func (s *simulated) hubVariables() []variable {
	prefix := "azure.environments." + palette.EnvironmentPublic + "."
	return []variable{
		{server.EnvName(prefix + "armURL"), s.url},
		{server.EnvName(prefix + "authorityURL"), s.url},
		{server.EnvName(prefix + "caFile"), s.caFile},
		{server.EnvName(prefix + "resolveByAddress"), "true"},
	}
}

// isGroup recognises the resource group that was there from the start.
func isGroup(r azuresim.Inventory) bool {
	return strings.EqualFold(r.ID, "/subscriptions/"+simSubscription+"/resourceGroups/"+simGroup)
}

func (a *app) simCommand() *cobra.Command {
	var o simOptions
	var envFile string
	var verbose bool
	cmd := &cobra.Command{
		Use: "sim", Short: "Run simulated Azure alone", Args: cobra.NoArgs,
		Long: `Run simulated Azure alone, until SIGINT or SIGTERM: Entra ID and Azure Resource Manager on one address, with one
tenant, subscription, application and resource group. It keeps nothing: what was made in it is gone when it ends.

The environment that it writes also leads a hub to it: lazuli sim --env-file E & then set -a; . E; lazuli serve`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.settle(cmd, a.getenv); err != nil {
				return err
			}
			if err := forgetOld(envFile); err != nil {
				return err
			}
			dir, err := os.MkdirTemp("", "lazuli-sim-")
			if err != nil {
				return fmt.Errorf("make a directory: %w", err)
			}
			return errors.Join(a.runSim(cmd.Context(), o, dir, envFile, verbose), removeAll(dir))
		},
	}
	o.add(cmd)
	cmd.Flags().StringVar(&o.listen, "listen", defaultSimListen, "address and port")
	cmd.Flags().StringVar(&envFile, "env-file", "", "file to write the addresses and the credential to, once it is ready")
	cmd.Flags().BoolVar(&verbose, "verbose", false, "log every call")
	return cmd
}

func (a *app) runSim(ctx context.Context, o simOptions, dir, envFile string, verbose bool) (err error) {
	s, err := newSimulated(ctx, o, dir, simLog(a.errOut, verbose))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	vars := append(s.variables(), s.hubVariables()...)
	forget, err := announce(envFile, vars)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, forget()) }()
	if envFile == "" {
		text, err := renderEnv(vars)
		if err != nil {
			return err
		}
		if err := a.printf("%s", text); err != nil {
			return err
		}
	}
	a.note("simulated Azure at %s, %v times as fast\n", s.url, o.speed)
	return s.serve(ctx)
}

func simLog(w io.Writer, verbose bool) *slog.Logger {
	level := slog.LevelWarn
	if verbose {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level})).With("part", "azuresim")
}

// announce writes the environment file, unless its name is empty. What it
// returns removes the file again: its content is worth nothing afterwards.
func announce(file string, vars []variable) (forget func() error, err error) {
	if file == "" {
		return func() error { return nil }, nil
	}
	if err := writeEnv(file, vars); err != nil {
		return nil, err
	}
	return func() error { return removeFile(file) }, nil
}

// forgetOld removes what an earlier run may have left, so that whoever waits
// for the file does not take it for this run's.
func forgetOld(envFile string) error {
	if envFile == "" {
		return nil
	}
	return removeFile(envFile)
}

func removeFile(name string) error {
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove: %w", err)
	}
	return nil
}

func removeAll(dir string) error {
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove: %w", err)
	}
	return nil
}

// scaled shortens a pause as the simulation shortens everything.
func scaled(d time.Duration, speed float64) time.Duration {
	return max(time.Duration(float64(d)/speed), shortestPause)
}

const shortestPause = 50 * time.Millisecond
