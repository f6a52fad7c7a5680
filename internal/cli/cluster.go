// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lazuli-dev/lazuli/internal/cli/manifest"
	"github.com/lazuli-dev/lazuli/internal/client"
	"github.com/lazuli-dev/lazuli/internal/palette"
)

// defaultWait bounds --wait: longer than any honest create in Azure.
const defaultWait = time.Hour

// waitFlags are --wait and --timeout.
type waitFlags struct {
	wait    bool
	timeout time.Duration
}

func (w *waitFlags) add(cmd *cobra.Command, what string) {
	cmd.Flags().BoolVar(&w.wait, "wait", false, what)
	cmd.Flags().DurationVar(&w.timeout, "timeout", defaultWait, "how long to wait; then exit code 5")
}

func (w *waitFlags) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	if !w.wait || w.timeout <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, w.timeout)
}

func (a *app) clusterCommand() *cobra.Command {
	return group(&cobra.Command{Use: "cluster", Aliases: []string{"clusters"}, Short: "Clusters"},
		a.clusterCreate(), a.clusterList(), a.clusterGet(), a.clusterWatch(), a.clusterTasks(), a.clusterGraph(),
		a.clusterDelete())
}

// withCluster finds a cluster by name or uid.
func (a *app) withCluster(
	ctx context.Context, want string, fn func(*client.Client, palette.ClusterSummary) error,
) error {
	c, err := a.connect(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	found, err := findCluster(ctx, c, want)
	if err != nil {
		return err
	}
	return fn(c, found)
}

func (a *app) clusterCreate() *cobra.Command {
	var f createFlags
	var wait waitFlags
	cmd := &cobra.Command{
		Use: "create NAME", Short: "Create a cluster; `lazuli apply` takes the same as YAML", Args: cobra.ExactArgs(1),
		Example: `  lazuli cluster create demo --account azure --profile base --resource-group demo --location westeurope \
    --ssh-key-file ~/.ssh/id_ed25519.pub --worker name=general,size=2,type=Standard_D4s_v3,zones=1/2 --wait`,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := wait.bound(cmd.Context())
			defer cancel()
			doc, err := f.document(a, args[0])
			if err != nil {
				return err
			}
			c, err := a.connect(ctx)
			if err != nil {
				return err
			}
			defer c.Close()
			refs, err := resolve(ctx, c, doc)
			if err != nil {
				return err
			}
			uid, err := c.CreateCluster(ctx, doc.ClusterRequest(refs))
			if err != nil {
				return located(doc, err)
			}
			if err := a.printf("cluster %s created: %s\n", args[0], uid); err != nil || !wait.wait {
				return err
			}
			return a.follow(ctx, c, uid, untilRunning)
		},
	}
	f.add(cmd)
	wait.add(cmd, "show progress until the cluster runs")
	return cmd
}

// createFlags are a Cluster manifest as flags.
type createFlags struct {
	cluster manifest.Cluster
	size    int
	workers []string
	tags    map[string]string
}

func (f *createFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	c := &f.cluster
	flags.StringVar(&c.Account, "account", "", "cloud account")
	flags.StringSliceVar(&c.Profiles, "profile", nil, "cluster profile, NAME or NAME@VERSION; may be given again")
	flags.StringVar(&c.SubscriptionID, "subscription", "", "subscription id (AZURE_SUBSCRIPTION_ID)")
	flags.StringVar(&c.ResourceGroup, "resource-group", "", "existing resource group (AZURE_RESOURCE_GROUP)")
	flags.StringVar(&c.Location, "location", "", "region (AZURE_LOCATION)")
	flags.StringVar(&c.SSHKeyFile, "ssh-key-file", "", "file with the SSH public key of the nodes' administrator")
	flags.StringVar(&c.Description, "description", "", "for people")
	flags.StringToStringVar(&f.tags, "tag", nil, "KEY=VALUE for all Azure resources; may be given again")
	flags.IntVar(&f.size, "control-plane-size", 1, "1, 3 or 5 control-plane nodes")
	flags.StringVar(&c.ControlPlane.InstanceType, "control-plane-type", "", "VM size (default "+manifest.DefaultInstanceType+")")
	flags.BoolVar(&c.ControlPlane.AllowWorkloads, "control-plane-workloads", false, "let ordinary pods run on control-plane nodes")
	flags.StringArrayVar(&f.workers, "worker", nil,
		"pool name=NAME,size=N,type=SIZE,disk=GB,diskType=TYPE,zones=1/2/3; may be given again (default one node)")
}

func (f *createFlags) document(a *app, name string) (manifest.Document, error) {
	c := f.cluster
	c.SubscriptionID = first(c.SubscriptionID, a.getenv("AZURE_SUBSCRIPTION_ID"))
	c.ResourceGroup = first(c.ResourceGroup, a.getenv("AZURE_RESOURCE_GROUP"))
	c.Location = first(c.Location, a.getenv("AZURE_LOCATION"))
	c.Tags, c.ControlPlane.Size = f.tags, &f.size
	for _, x := range []struct{ flag, value string }{
		{"--account", c.Account}, {"--profile", strings.Join(c.Profiles, ",")}, {"--subscription", c.SubscriptionID},
		{"--resource-group", c.ResourceGroup}, {"--location", c.Location}, {"--ssh-key-file", c.SSHKeyFile},
	} {
		if x.value == "" {
			return manifest.Document{}, usagef("%s is required", x.flag)
		}
	}
	for _, w := range f.workers {
		pool, err := workerOf(w)
		if err != nil {
			return manifest.Document{}, err
		}
		c.Workers = append(c.Workers, pool)
	}
	c.Normalize()
	doc := manifest.Document{Kind: manifest.KindCluster, Name: name, Cluster: &c}
	if err := loadSSHKey(&doc, "."); err != nil {
		return doc, &usageError{err: err}
	}
	return doc, nil
}

func workerOf(text string) (manifest.WorkerPool, error) {
	var w manifest.WorkerPool
	for part := range strings.SplitSeq(text, ",") {
		key, value, ok := strings.Cut(part, "=")
		if !ok {
			return w, usagef("--worker %q: %q is not KEY=VALUE", text, part)
		}
		var err error
		switch key {
		case "name":
			w.Name = value
		case "size":
			var n int
			n, err = strconv.Atoi(value)
			w.Size = &n
		case "type":
			w.InstanceType = value
		case "disk":
			w.DiskSizeGB, err = strconv.Atoi(value)
		case "diskType":
			w.DiskType = value
		case "zones":
			w.Zones = strings.Split(value, "/")
		default:
			return w, usagef("--worker %q: %q is none of name, size, type, disk, diskType, zones", text, key)
		}
		if err != nil {
			return w, usagef("--worker %q: %s=%q is not a number", text, key, value)
		}
	}
	if w.Name == "" {
		w.Name = manifest.DefaultWorkerPool
	}
	return w, nil
}

func (a *app) clusterList() *cobra.Command {
	var form string
	cmd := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List clusters", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.connect(cmd.Context())
			if err != nil {
				return err
			}
			defer c.Close()
			items, err := c.Clusters(cmd.Context(), "")
			if err != nil {
				return err
			}
			rows := make([][]string, 0, len(items))
			for _, x := range items {
				rows = append(rows, clusterRow(x, time.Now()))
			}
			return a.print(form, items, []string{"NAME", "STATE", "HEALTH", "KUBERNETES", "UPDATE", "NODES", "AGE", "UID"}, rows)
		},
	}
	outputFlag(cmd, &form)
	return cmd
}

func clusterRow(x palette.ClusterSummary, now time.Time) []string {
	nodes := 0
	for _, p := range x.SpecSummary.CloudConfig.MachinePools {
		nodes += p.Size
	}
	update := "-"
	if x.Status.Notifications.IsAvailable {
		update = "available"
	}
	return []string{
		x.Metadata.Name, x.Status.State, x.Status.Health.State, kubernetesVersion(x.SpecSummary), update,
		strconv.Itoa(nodes), age(x.Metadata.CreationTimestamp.Time, now), x.Metadata.UID,
	}
}

// layerKubernetes is the layer of the pack that carries Kubernetes.
const layerKubernetes = "k8s"

// kubernetesVersion is the version that the profiles ask for.
func kubernetesVersion(s palette.ClusterSummarySpec) string {
	for _, t := range s.ClusterProfileTemplates {
		for _, p := range t.Packs {
			if p.Layer == layerKubernetes {
				return p.Version
			}
		}
	}
	return ""
}

func (a *app) clusterGet() *cobra.Command {
	var form string
	cmd := &cobra.Command{
		Use: "get NAME", Short: "Show a cluster, its pools and its nodes", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			return a.withCluster(ctx, args[0], func(c *client.Client, found palette.ClusterSummary) error {
				if form != formTable {
					full, err := c.Cluster(ctx, found.Metadata.UID)
					if err != nil {
						return err
					}
					return a.print(form, full, nil, nil)
				}
				return a.describeCluster(ctx, c, found)
			})
		},
	}
	outputFlag(cmd, &form)
	return cmd
}

func (a *app) describeCluster(ctx context.Context, c *client.Client, s palette.ClusterSummary) error {
	config, err := c.CloudConfig(ctx, s.SpecSummary.CloudConfig.UID)
	if err != nil {
		return err
	}
	var place palette.AzureClusterConfig
	if err := json.Unmarshal(config.Spec.ClusterConfig, &place); err != nil {
		return fmt.Errorf("read placement of cluster: %w", err)
	}
	seen, err := c.Overview(ctx, s.Metadata.UID)
	if err != nil {
		return err
	}
	endpoint := ""
	for _, e := range seen.Status.APIEndpoints {
		endpoint = "https://" + e.Host + ":" + strconv.Itoa(e.Port)
	}
	profiles := make([]string, 0, len(s.SpecSummary.ClusterProfileTemplates))
	for _, p := range s.SpecSummary.ClusterProfileTemplates {
		profiles = append(profiles, p.Name)
	}
	pairs := [][2]string{
		{"Name", s.Metadata.Name},
		{"UID", s.Metadata.UID},
		{"State", s.Status.State},
		{"Health", healthText(s.Status.Health)},
		{"Kubernetes", seen.Status.KubeMeta.KubernetesVersion},
		{"API server", endpoint},
		{"Account", config.Spec.CloudAccountRef.Name},
		{"Subscription", place.SubscriptionID},
		{"Resource group", place.ResourceGroup},
		{"Location", place.Location},
		{"Profiles", strings.Join(profiles, ", ")},
		{"Age", age(s.Metadata.CreationTimestamp.Time, time.Now())},
	}
	for _, p := range pairs {
		if err := a.printf("%-15s %s\n", p[0]+":", clean(p[1])); err != nil {
			return err
		}
	}
	rows, err := machineRows(ctx, c, config)
	if err != nil {
		return err
	}
	if err := a.printf("\n"); err != nil {
		return err
	}
	return a.table([]string{"NODE", "POOL", "STATE", "READY", "SIZE", "ZONE", "ADDRESS"}, rows)
}

func healthText(h palette.ClusterHealth) string {
	parts := []string{h.State}
	for _, x := range h.Conditions {
		parts = append(parts, x.Message)
	}
	return strings.Join(parts, ": ")
}

func machineRows(ctx context.Context, c *client.Client, config palette.CloudConfig) ([][]string, error) {
	var rows [][]string
	for _, raw := range config.Spec.MachinePoolConfig {
		var pool palette.AzureMachinePoolConfig
		if err := json.Unmarshal(raw, &pool); err != nil {
			return nil, fmt.Errorf("read pool of cluster: %w", err)
		}
		machines, err := c.Machines(ctx, config.Metadata.UID, pool.Name)
		if err != nil {
			return nil, err
		}
		for _, m := range machines {
			address := ""
			for _, x := range m.Status.Addresses {
				address = x.Address
			}
			rows = append(rows, []string{
				m.Metadata.Name, pool.Name, m.Status.InstanceState, strconv.FormatBool(m.Status.Ready),
				m.Spec.InstanceType, m.Spec.AvailabilityZone.ID, address,
			})
		}
	}
	return rows, nil
}

func (a *app) clusterWatch() *cobra.Command {
	var wait waitFlags
	cmd := &cobra.Command{
		Use: "watch NAME", Short: "Show every task until the cluster runs, or is gone", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			wait.wait = true
			ctx, cancel := wait.bound(cmd.Context())
			defer cancel()
			return a.withCluster(ctx, args[0], func(c *client.Client, found palette.ClusterSummary) error {
				until := untilRunning
				if found.Status.State == stateDeleting {
					until = untilGone
				}
				return a.follow(ctx, c, found.Metadata.UID, until)
			})
		},
	}
	cmd.Flags().DurationVar(&wait.timeout, "timeout", defaultWait, "how long to wait; then exit code 5")
	return cmd
}

func (a *app) clusterDelete() *cobra.Command {
	var wait waitFlags
	var force bool
	cmd := &cobra.Command{
		Use: "delete NAME", Aliases: []string{"rm"}, Args: cobra.ExactArgs(1),
		Short: "Delete a cluster and everything that was made for it, never its resource group",
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := wait.bound(cmd.Context())
			defer cancel()
			return a.withCluster(ctx, args[0], func(c *client.Client, found palette.ClusterSummary) error {
				if err := c.DeleteCluster(ctx, found.Metadata.UID, force); err != nil {
					return err
				}
				if !wait.wait {
					return a.printf("cluster %s is being deleted\n", found.Metadata.Name)
				}
				return a.follow(ctx, c, found.Metadata.UID, untilGone)
			})
		},
	}
	wait.add(cmd, "show progress until nothing is left")
	cmd.Flags().BoolVar(&force, "force", false, "give up on what Azure refuses to delete, and list it")
	return cmd
}

func (a *app) kubeconfigCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use: "kubeconfig NAME", Short: "Print a cluster's kubeconfig, or write it to a file", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			return a.withCluster(ctx, args[0], func(c *client.Client, found palette.ClusterSummary) error {
				b, err := c.Kubeconfig(ctx, found.Metadata.UID)
				if err != nil {
					return err
				}
				if file == "" || file == stdinName {
					return a.printf("%s", b)
				}
				if err := writePrivate(file, b); err != nil {
					return err
				}
				a.note("kubeconfig of %s written to %s\n", found.Metadata.Name, file)
				return nil
			})
		},
	}
	cmd.Flags().StringVarP(&file, "output", "o", "", "file to write, for this user alone")
	return cmd
}
