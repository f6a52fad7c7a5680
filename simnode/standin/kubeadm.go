// SPDX-License-Identifier: Apache-2.0

package standin

import (
	"slices"
	"strings"
)

// ignoredChecks are kubeadm's preflight checks that look at the host and not at the simulated machine: the cgroup version
// (SystemVerification refuses version 1, which the kubelet of 1.36 still runs on) and the number of processors.
const ignoredChecks = "SystemVerification,NumCPU"

// KubeadmArguments adds to the arguments of kubeadm, os.Args, the preflight checks that a simulated machine cannot pass. It
// leaves a caller alone who ignores all of them: kubeadm refuses individual checks beside "all".
func KubeadmArguments(arguments []string) []string {
	words := make([]string, 0, 2)
	for _, a := range arguments[1:] {
		if !strings.HasPrefix(a, "-") {
			words = append(words, a)
		}
	}
	if len(words) == 0 || words[0] != "init" && words[0] != "join" {
		return arguments
	}
	if len(words) > 1 && words[1] == "phase" && !slices.Contains(words, "preflight") {
		return arguments
	}
	const flag = "--ignore-preflight-errors"
	for i, a := range arguments {
		value, found := strings.CutPrefix(a, flag+"=")
		if a == flag && i+1 < len(arguments) {
			value, found = arguments[i+1], true
		}
		if found && slices.Contains(strings.Split(strings.ToLower(value), ","), "all") {
			return arguments
		}
	}
	return append(slices.Clone(arguments), flag+"="+ignoredChecks)
}
