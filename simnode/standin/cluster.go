// SPDX-License-Identifier: Apache-2.0

package standin

import (
	"fmt"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

const dialTimeout = 2 * time.Second

// newFlags is a set of flags that accepts those of the original which have no meaning here.
func newFlags(name string) (flags *pflag.FlagSet, kubeconfig *string) {
	flags = pflag.NewFlagSet(name, pflag.ExitOnError)
	flags.ParseErrorsAllowlist.UnknownFlags = true
	return flags, flags.String("kubeconfig", "", "kubeconfig file; empty: the pod's own service account")
}

// connect makes a client of the cluster.
func connect(kubeconfig string) (*kubernetes.Clientset, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("find the cluster: %w", err)
	}
	// A connection that was begun before kube-proxy knew the service's address never comes about: begin another one soon.
	config.Dial = (&net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}).DialContext
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make a client: %w", err)
	}
	return client, nil
}

// logger logs to standard error and says first what this is not.
func logger(program, instead string) *slog.Logger {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil)).With("program", program)
	log.Info("this is a stand-in of the simulator, not the original", "does", instead)
	return log
}
