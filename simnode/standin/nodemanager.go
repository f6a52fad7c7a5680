// SPDX-License-Identifier: Apache-2.0

package standin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/retry"
	cloudproviderapi "k8s.io/cloud-provider/api"
)

const (
	initialiseRetry  = 3 * time.Second // until the node is initialised
	initialiseAgain  = time.Minute     // the original looks every five minutes
	metadataPatience = 30 * time.Second
)

// NodeManager stands in for Azure's cloud-node-manager: it gives its own Node the addresses, size, zone and region that the
// instance metadata service tells, and then takes the taint away that kept pods off. Where there is no such service it takes
// the address of the default route, and leaves the zone and region that the kubelet was given as labels.
func NodeManager(arguments []string) error {
	flags, kubeconfig := newFlags("cloud-node-manager")
	name := flags.String("node-name", os.Getenv("NODE_NAME"), "the own node")
	url := flags.String("metadata-url", metadataURL, "the instance metadata service")
	if err := flags.Parse(arguments); err != nil {
		return err //nolint:wrapcheck // names the flag
	}
	if *name == "" {
		return errors.New("--node-name is missing")
	}
	log := logger("cloud-node-manager", "initialises the node "+*name)
	client, err := connect(*kubeconfig)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	start := time.Now()
	for {
		pause := initialiseAgain
		m, err := askMetadata(ctx, *url)
		if err != nil && time.Since(start) > metadataPatience {
			log.Warn("no metadata: the kubelet's labels stay", "error", err)
			m.Network, err = metadataNetwork(defaultAddress()), nil
		}
		if err == nil {
			err = initialise(ctx, client, *name, m, log)
		}
		if err != nil {
			log.Error("initialise the node", "error", err)
			pause = initialiseRetry
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
	}
}

// initialise brings the Node up to date.
func initialise(ctx context.Context, client kubernetes.Interface, name string, m Metadata, log *slog.Logger) error {
	address := m.Address()
	if net.ParseIP(address) == nil {
		return fmt.Errorf("%q is no address of %s", address, name)
	}
	nodes := client.CoreV1().Nodes()
	node, err := nodes.Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("get node %s: %w", name, err)
	}
	// The addresses come first: who waits for the taint to go may rely on them.
	addresses := Addresses(name, address)
	if !slices.Equal(node.Status.Addresses, addresses) {
		// A strategic patch would merge the list by type, a merge patch replaces it.
		body, err := json.Marshal(map[string]any{"status": map[string]any{"addresses": addresses}})
		if err != nil {
			return fmt.Errorf("encode addresses: %w", err)
		}
		if _, err := nodes.Patch(ctx, name, types.MergePatchType, body, metav1.PatchOptions{}, "status"); err != nil {
			return fmt.Errorf("set addresses of node %s: %w", name, err)
		}
		log.Info("addresses set", "address", address)
	}
	return retry.RetryOnConflict(retry.DefaultRetry, func() error {
		node, err := nodes.Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return fmt.Errorf("get node %s: %w", name, err)
		}
		if !Initialised(node, m) {
			return nil
		}
		if _, err := nodes.Update(ctx, node, metav1.UpdateOptions{}); err != nil {
			return err //nolint:wrapcheck // a conflict has to be seen as one
		}
		log.Info("node initialised", "zone", node.Labels[corev1.LabelTopologyZone], "size", node.Labels[corev1.LabelInstanceTypeStable])
		return nil
	})
}

// Addresses are the addresses of a Node of Azure.
func Addresses(name, address string) []corev1.NodeAddress {
	return []corev1.NodeAddress{
		{Type: corev1.NodeInternalIP, Address: address},
		{Type: corev1.NodeHostName, Address: name},
	}
}

// Initialised changes the node to what the metadata says and reports whether that was a change. An empty value changes nothing.
func Initialised(node *corev1.Node, m Metadata) bool {
	labels := maps.Clone(node.Labels)
	if labels == nil {
		labels = map[string]string{}
	}
	for value, names := range map[string][]string{
		m.Compute.VMSize: {corev1.LabelInstanceTypeStable, corev1.LabelInstanceType},
		m.Region():       {corev1.LabelTopologyRegion, corev1.LabelFailureDomainBetaRegion},
		m.Zone():         {corev1.LabelTopologyZone, corev1.LabelFailureDomainBetaZone},
	} {
		for _, n := range names {
			if value != "" {
				labels[n] = value
			}
		}
	}
	taints := slices.DeleteFunc(slices.Clone(node.Spec.Taints), func(t corev1.Taint) bool {
		return t.Key == cloudproviderapi.TaintExternalCloudProvider
	})
	changed := !maps.Equal(labels, node.Labels) || len(taints) != len(node.Spec.Taints)
	node.Labels, node.Spec.Taints = labels, taints
	if node.Spec.ProviderID == "" && m.Compute.ResourceID != "" {
		node.Spec.ProviderID = "azure://" + m.Compute.ResourceID
		changed = true
	}
	return changed
}

// defaultAddress is the address that the machine would speak to its network from, "" when there is none. It sends nothing.
func defaultAddress() string {
	connection, err := net.Dial("udp4", "169.254.169.254:80")
	if err != nil {
		return ""
	}
	defer connection.Close()
	host, _, err := net.SplitHostPort(connection.LocalAddr().String())
	if err != nil {
		return ""
	}
	return host
}
