// SPDX-License-Identifier: Apache-2.0

package model

import (
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
)

// daemonTolerations are those that the daemon set controller adds to its pods.
func daemonTolerations(hostNetwork bool) []corev1.Toleration {
	out := []corev1.Toleration{
		{Key: corev1.TaintNodeNotReady, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute},
		{Key: corev1.TaintNodeUnreachable, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute},
		{Key: corev1.TaintNodeDiskPressure, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoSchedule},
		{Key: corev1.TaintNodeMemoryPressure, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoSchedule},
		{Key: corev1.TaintNodePIDPressure, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoSchedule},
		{Key: corev1.TaintNodeUnschedulable, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoSchedule},
	}
	if hostNetwork {
		out = append(out, corev1.Toleration{
			Key: corev1.TaintNodeNetworkUnavailable, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoSchedule,
		})
	}
	return out
}

// tolerates says whether a toleration covers a taint.
func tolerates(t corev1.Toleration, taint corev1.Taint) bool {
	if t.Effect != "" && t.Effect != taint.Effect || t.Key != "" && t.Key != taint.Key {
		return false
	}
	switch t.Operator {
	case corev1.TolerationOpExists:
		return true
	case "", corev1.TolerationOpEqual:
		return t.Key != "" && t.Value == taint.Value
	case corev1.TolerationOpGt, corev1.TolerationOpLt:
	}
	return false
}

// untolerated returns the first taint with an effect that keeps a pod away.
func untolerated(taints []corev1.Taint, tolerations []corev1.Toleration, effects ...corev1.TaintEffect) *corev1.Taint {
	for i := range taints {
		if !slices.Contains(effects, taints[i].Effect) {
			continue
		}
		if !slices.ContainsFunc(tolerations, func(t corev1.Toleration) bool { return tolerates(t, taints[i]) }) {
			return &taints[i]
		}
	}
	return nil
}

// nodeTaints are a node's taints and the one that stands for a cordon.
func nodeTaints(n *corev1.Node) []corev1.Taint {
	if !n.Spec.Unschedulable {
		return n.Spec.Taints
	}
	return append(slices.Clone(n.Spec.Taints), corev1.Taint{Key: corev1.TaintNodeUnschedulable, Effect: corev1.TaintEffectNoSchedule})
}

// admits says whether a pod may be put on a node: taints, node selector, required node affinity.
func admits(n *corev1.Node, spec *corev1.PodSpec, extra []corev1.Toleration) bool {
	tolerations := append(slices.Clone(spec.Tolerations), extra...)
	if untolerated(nodeTaints(n), tolerations, corev1.TaintEffectNoSchedule, corev1.TaintEffectNoExecute) != nil {
		return false
	}
	for k, v := range spec.NodeSelector {
		if have, ok := n.Labels[k]; !ok || have != v {
			return false
		}
	}
	if spec.Affinity == nil || spec.Affinity.NodeAffinity == nil {
		return true
	}
	required := spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution
	return required == nil || slices.ContainsFunc(required.NodeSelectorTerms, func(term corev1.NodeSelectorTerm) bool {
		return matchesTerm(n, term)
	})
}

func matchesTerm(n *corev1.Node, term corev1.NodeSelectorTerm) bool {
	if len(term.MatchExpressions) == 0 && len(term.MatchFields) == 0 {
		return false
	}
	for _, r := range term.MatchExpressions {
		value, ok := n.Labels[r.Key]
		if !matchesRequirement(r, value, ok) {
			return false
		}
	}
	for _, r := range term.MatchFields {
		if !matchesRequirement(r, n.Name, true) {
			return false
		}
	}
	return true
}

func matchesRequirement(r corev1.NodeSelectorRequirement, value string, have bool) bool {
	switch r.Operator {
	case corev1.NodeSelectorOpIn:
		return have && slices.Contains(r.Values, value)
	case corev1.NodeSelectorOpNotIn:
		return !have || !slices.Contains(r.Values, value)
	case corev1.NodeSelectorOpExists:
		return have
	case corev1.NodeSelectorOpDoesNotExist:
		return !have
	case corev1.NodeSelectorOpGt, corev1.NodeSelectorOpLt:
		a, errA := strconv.ParseInt(value, 10, 64)
		if !have || errA != nil || len(r.Values) != 1 {
			return false
		}
		b, errB := strconv.ParseInt(r.Values[0], 10, 64)
		return errB == nil && (a > b) == (r.Operator == corev1.NodeSelectorOpGt) && a != b
	}
	return false
}
