// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/examples"
	"github.com/lazuli-dev/lazuli/internal/client"
	"github.com/lazuli-dev/lazuli/internal/server"
	"github.com/lazuli-dev/lazuli/internal/workload"
)

// demoTimeout bounds the deployment and the deletion, each.
const demoTimeout = 10 * time.Minute

// demoOptions are the flags of demo.
type demoOptions struct {
	simOptions

	hubListen  string
	fixed      bool // the user chose hubListen
	dataDir    string
	kubeconfig string
	envFile    string
	example    string
	once       bool
	serveOnly  bool
}

// The examples that depend on how real the nodes are.
const (
	exampleHA   = "ha-cluster"
	exampleReal = "real-nodes"
)

// manifest is the example that the demonstration deploys.
func (o *demoOptions) manifest() ([]byte, error) {
	switch o.example {
	case "cluster":
		return examples.Cluster, nil
	case exampleHA:
		return examples.HACluster, nil
	case exampleReal:
		return examples.RealNodes, nil
	default:
		return nil, usagef("--example %q is none of cluster, %s and %s", o.example, exampleHA, exampleReal)
	}
}

func (a *app) demoCommand() *cobra.Command {
	var o demoOptions
	cmd := &cobra.Command{
		Use: "demo", Short: "Deploy a cluster on simulated Azure: no account, no cost", Args: cobra.NoArgs,
		Long: `Start simulated Azure and a hub in this process, deploy one of the examples through the hub's public API, show
every task and the nodes, and stay up until SIGINT or SIGTERM. Nothing is kept unless --data-dir says where.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.settle(cmd, a.getenv); err != nil {
				return err
			}
			if o.once && o.serveOnly {
				return usagef("--once and --serve-only exclude each other")
			}
			if o.example == "" {
				o.example = exampleHA
				if o.nodes != nodesModel {
					o.example = exampleReal
				}
			}
			if _, err := o.manifest(); err != nil {
				return err
			}
			if err := forgetOld(o.envFile); err != nil {
				return err
			}
			o.fixed = cmd.Flags().Changed("listen")
			return a.demo(cmd.Context(), o)
		},
	}
	o.add(cmd)
	flags := cmd.Flags()
	flags.StringVar(&o.hubListen, "listen", server.DefaultListen, "address and port of the hub; any free port when the default is taken")
	flags.StringVar(&o.dataDir, "data-dir", "", "directory to keep the hub's state in (default: a temporary one)")
	flags.StringVar(&o.kubeconfig, "kubeconfig", "", "file to write the kubeconfig to (default: in the data directory)")
	flags.StringVar(&o.envFile, "env-file", "", "file to write the environment of clients to, once both are ready")
	flags.StringVar(&o.example, "example", "", "what to deploy: ha-cluster (three control planes, two pools), cluster (one of each), or "+
		"real-nodes (one of each on the node image) (default ha-cluster; real-nodes with --nodes vm and process)")
	flags.BoolVar(&o.once, "once", false, "delete the cluster again, prove that nothing of it is left, and exit")
	flags.BoolVar(&o.serveOnly, "serve-only", false, "start both and deploy nothing")
	return cmd
}

// demo owns the directory and the log.
func (a *app) demo(ctx context.Context, o demoOptions) (err error) {
	dir := o.dataDir
	if dir == "" {
		if dir, err = os.MkdirTemp("", "lazuli-demo-"); err != nil {
			return fmt.Errorf("make a directory: %w", err)
		}
		defer func() {
			// After a failure the log is worth more than a clean disk.
			if err == nil || errors.Is(err, context.Canceled) {
				err = errors.Join(err, removeAll(dir))
				return
			}
			a.note("the hub's log is %s\n", filepath.Join(dir, hubLogName))
		}()
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return fmt.Errorf("find the data directory: %w", err)
	}
	if err := os.MkdirAll(dir, dirMode); err != nil {
		return fmt.Errorf("make data directory: %w", err)
	}
	if _, err := os.Stat(filepath.Join(dir, hubDir)); err == nil {
		return usagef("%s holds the hub of an earlier demonstration, whose simulated Azure is gone; "+
			"give an empty directory, or run `lazuli serve` to look at it", dir)
	}
	logTo := a.errOut
	if !o.serveOnly {
		f, err := os.OpenFile(filepath.Join(dir, hubLogName), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return fmt.Errorf("open the hub's log: %w", err)
		}
		defer f.Close() //nolint:errcheck // a log
		logTo = f
	}
	err = a.demoIn(ctx, o, dir, logTo)
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		return nil // the user ended it
	}
	return err
}

func (a *app) demoIn(ctx context.Context, o demoOptions, dir string, logTo io.Writer) (err error) {
	s, err := newStack(ctx, o.simOptions, dir, o.hubListen, o.fixed, logTo)
	if err != nil {
		return err
	}
	a.atHub(s.hub)
	s.start(ctx)
	defer func() { err = errors.Join(err, s.stop()) }()
	if err := s.ready(s.ctx); err != nil {
		return err
	}
	forget, err := announce(o.envFile, s.variables())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, forget()) }()
	a.note("simulated Azure  %s (%v times as fast as Azure)\nhub              %s\n\n", s.azure.url, o.speed, s.hub.URL())
	if !o.serveOnly {
		done, err := a.demoCluster(s, o, dir)
		if err != nil || done {
			return err
		}
	}
	<-s.ctx.Done()
	return nil
}

// ready waits for the hub's own word.
func (s *stack) ready(ctx context.Context) error {
	c, err := s.client()
	if err != nil {
		return err
	}
	defer c.Close()
	return c.Ready(ctx)
}

func (s *stack) client() (*client.Client, error) {
	return client.New(client.Config{
		URL: s.hub.URL(), APIKey: lazuli.NewSecret(s.key), CAFile: s.cfg.CAFile(), Agent: "lazuli/" + Version,
	})
}

// demoCluster deploys the example through the public API and shows its nodes;
// done says that the demonstration is over.
func (a *app) demoCluster(s *stack, o demoOptions, dir string) (done bool, err error) {
	inner := *a
	inner.getenv = s.getenv(a.getenv)
	inner.out = a.errOut // what apply tells is progress here
	c, err := s.client()
	if err != nil {
		return false, err
	}
	defer c.Close()
	project, err := findProject(s.ctx, c, defaultProject)
	if err != nil {
		return false, err
	}
	c = c.In(project)
	manifest, err := o.manifest()
	if err != nil {
		return false, err
	}
	docs, err := inner.parseManifest("examples/"+o.example+".yaml", ".", manifest)
	if err != nil {
		return false, err
	}
	began := time.Now()
	ctx, cancel := context.WithTimeout(s.ctx, demoTimeout)
	defer cancel()
	clusters, err := inner.applyDocuments(ctx, c, docs)
	if err != nil {
		return false, err
	}
	uid := clusters[0]
	p, err := inner.followWith(ctx, c, uid, untilRunning, inner.newView())
	if err != nil {
		return false, err
	}
	a.note("\ncluster %s is ready after %s\n\n", p.cluster, seconds(time.Since(began)))
	file := first(o.kubeconfig, filepath.Join(dir, "kubeconfig"))
	if err := a.demoNodes(ctx, c, uid, file); err != nil {
		return false, err
	}
	if o.once {
		return true, a.demoDelete(s, &inner, c, uid)
	}
	return false, a.demoHints(s, o, dir, file)
}

// demoNodes writes the kubeconfig and prints the nodes that it leads to.
func (a *app) demoNodes(ctx context.Context, c *client.Client, uid, file string) error {
	kubeconfig, err := c.Kubeconfig(ctx, uid)
	if err != nil {
		return err
	}
	if err := writePrivate(file, kubeconfig); err != nil {
		return err
	}
	clusters := workload.New(&net.Dialer{}, slog.New(slog.DiscardHandler), workload.Options{})
	defer clusters.Forget(uid)
	nodes, err := clusters.Nodes(ctx, workload.Access{Kubeconfig: kubeconfig, UID: uid})
	if err != nil {
		return fmt.Errorf("list the cluster's nodes through %s: %w", file, err)
	}
	rows := make([][]string, 0, len(nodes))
	for _, n := range nodes {
		state := "Ready"
		if !n.Ready {
			state = "NotReady"
		}
		rows = append(rows, []string{n.Name, state, n.Version, n.InternalIP, n.Zone})
	}
	return a.table([]string{"NODE", "STATUS", "VERSION", "ADDRESS", "ZONE"}, rows)
}

// demoDelete deletes the cluster and looks at Azure, not at the hub, for what
// is left.
func (a *app) demoDelete(s *stack, inner *app, c *client.Client, uid string) error {
	ctx, cancel := context.WithTimeout(s.ctx, demoTimeout)
	defer cancel()
	a.note("\ndeleting the cluster\n")
	began := time.Now()
	if err := c.DeleteCluster(ctx, uid, false); err != nil {
		return err
	}
	if _, err := inner.followWith(ctx, c, uid, untilGone, inner.newView()); err != nil {
		return err
	}
	a.note("\ncluster deleted after %s\n\n", seconds(time.Since(began)))
	left, group := 0, false
	if err := a.printf("what is in Azure now:\n"); err != nil {
		return err
	}
	for _, r := range s.azure.sim.Resources() {
		if isGroup(r) {
			group = true
		} else {
			left++
		}
		if err := a.printf("  %s (%s)\n", r.ID, r.ProvisioningState); err != nil {
			return err
		}
	}
	if left > 0 || !group {
		return fmt.Errorf("deleting the cluster did not leave Azure as it was: %d resources are left, resource group there: %t",
			left, group)
	}
	return a.printf("nothing is left but the resource group, which was there before\n")
}

// demoHints says what can be tried now.
func (a *app) demoHints(s *stack, o demoOptions, dir, kubeconfig string) error {
	env := o.envFile
	if env == "" {
		env = filepath.Join(dir, "env")
		if err := writeEnv(env, s.variables()); err != nil {
			return err
		}
	}
	return a.printf(`
hub          %[1]s
environment  %[2]s
kubeconfig   %[3]s

Try, in another terminal:

  set -a; . %[2]s; set +a
  %[4]s cluster get demo
  %[4]s cluster graph demo
  kubectl --kubeconfig %[3]s get pods -A
  curl --cacert "$LAZULI_CA_FILE" -H "ApiKey: $LAZULI_API_KEY" "$LAZULI_URL/v1/dashboard/projects/metadata"
  %[4]s cluster delete demo --wait

Ctrl-C ends the demonstration%[5]s.
`, s.hub.URL(), env, kubeconfig, self(), keepNote(o))
}

// self is how a shell finds this program.
func self() string {
	if _, err := exec.LookPath("lazuli"); err == nil {
		return "lazuli"
	}
	if file, err := os.Executable(); err == nil {
		return file
	}
	return "lazuli"
}

func keepNote(o demoOptions) string {
	if o.dataDir != "" {
		return ""
	}
	return " and removes what it wrote"
}
