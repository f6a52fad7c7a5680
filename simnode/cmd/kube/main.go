// SPDX-License-Identifier: Apache-2.0

// Command kube is every program of a Kubernetes node in one file: it is the program that its own name says, else its first
// argument. One binary is one link and one image layer where nine would be four times the size.
//
// The Kubernetes programs, etcd and CoreDNS are the originals, linked. The cloud-node-manager, cloud-controller-manager,
// vxlan and hello are stand-ins of our own, see package standin.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/restclient"
	_ "k8s.io/component-base/metrics/prometheus/version"
	kubectl "k8s.io/kubectl/pkg/cmd"
	"k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubeadm "k8s.io/kubernetes/cmd/kubeadm/app"
	kubeadmerrors "k8s.io/kubernetes/cmd/kubeadm/app/util/errors"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
	hollow "k8s.io/kubernetes/cmd/kubemark/app"

	"github.com/lazuli-dev/lazuli/simnode/standin"
)

func main() {
	programs := programs()
	name := filepath.Base(os.Args[0])
	if programs[name] == nil && len(os.Args) > 1 {
		os.Args = os.Args[1:]
		name = filepath.Base(os.Args[0])
	}
	run := programs[name]
	if run == nil {
		names := make([]string, 0, len(programs))
		for n := range programs {
			names = append(names, n)
		}
		sort.Strings(names)
		fmt.Fprintf(os.Stderr, "%s is none of %s\n", name, strings.Join(names, ", "))
		os.Exit(2)
	}
	run()
}

// programs are the programs by name. Each ends the process itself or returns when it is done.
func programs() map[string]func() {
	cobraProgram := func(command func() *cobra.Command) func() {
		return func() { os.Exit(cli.Run(command())) }
	}
	return map[string]func(){
		"etcd":                    func() { etcdmain.Main(os.Args) },
		"kube-apiserver":          cobraProgram(apiserver.NewAPIServerCommand),
		"kube-controller-manager": cobraProgram(controllermanager.NewControllerManagerCommand),
		"kube-scheduler":          cobraProgram(func() *cobra.Command { return scheduler.NewSchedulerCommand() }),
		"kube-proxy": func() {
			arguments, err := standin.KubeProxyArguments(os.Args)
			if err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			os.Args = arguments
			os.Exit(cli.Run(proxy.NewProxyCommand()))
		},
		"kubelet": cobraProgram(func() *cobra.Command {
			return kubelet.NewKubeletCommand(context.Background())
		}),
		"kubemark": cobraProgram(hollow.NewHollowNodeCommand),
		"kubeadm": func() {
			os.Args = standin.KubeadmArguments(os.Args)
			kubeadmerrors.HandleError(kubeadm.Run())
		},
		"kubectl": func() {
			if err := cli.RunNoErrOutput(kubectl.NewDefaultKubectlCommand()); err != nil {
				util.CheckErr(err)
			}
		},
		"coredns":                  coredns,
		"cloud-node-manager":       exit(standin.NodeManager),
		"cloud-controller-manager": exit(standin.ControllerManager),
		"vxlan":                    exit(standin.VXLAN),
		"hello":                    exit(standin.Hello),
	}
}

// exit runs a stand-in with its arguments.
func exit(program func(arguments []string) error) func() {
	return func() {
		if err := program(slices.Clone(os.Args[1:])); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}
