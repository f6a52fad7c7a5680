// SPDX-License-Identifier: Apache-2.0

package model

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/rand"

	"github.com/lazuli-dev/lazuli/internal/azuresim/kubeapi"
)

// hashLabel marks the template that a pod was made from.
const hashLabel = "pod-template-hash"

// templateHash names a pod template by its content.
func templateHash(t *corev1.PodTemplateSpec) string {
	raw, err := json.Marshal(t)
	if err != nil {
		return "0"
	}
	h := fnv.New32a()
	// A hash never refuses bytes.
	_, _ = h.Write(raw)
	return rand.SafeEncodeString(fmt.Sprint(h.Sum32()))
}

// hashed is the hash of the template that a generation of an object has.
type hashed struct {
	generation int64
	hash       string
}

// hashOf is templateHash, once per generation.
func (c *cluster) hashOf(owner metav1.Object, t *corev1.PodTemplateSpec) string {
	if h, ok := c.hashes[owner.GetUID()]; ok && h.generation == owner.GetGeneration() {
		return h.hash
	}
	h := hashed{owner.GetGeneration(), templateHash(t)}
	c.hashes[owner.GetUID()] = h
	return h.hash
}

// newPod makes a pod of a template. It is false when the pod's service account does not exist: admission refuses it.
func (w *world) newPod(owner metav1.Object, gvk schema.GroupVersionKind, t *corev1.PodTemplateSpec, hash string) (*corev1.Pod, bool) {
	pod := &corev1.Pod{ObjectMeta: *t.ObjectMeta.DeepCopy(), Spec: *t.Spec.DeepCopy()}
	pod.Namespace = owner.GetNamespace()
	pod.GenerateName = owner.GetName() + "-"
	pod.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(owner, gvk)}
	pod.Labels = maps.Clone(t.Labels)
	if pod.Labels == nil {
		pod.Labels = map[string]string{}
	}
	pod.Labels[hashLabel] = hash
	if pod.Spec.ServiceAccountName == "" {
		pod.Spec.ServiceAccountName = "default"
	}
	_, ok := w.store.Get(kubeapi.ServiceAccounts, pod.Namespace, pod.Spec.ServiceAccountName)
	return pod, ok
}

// create stores a pod. A pod that is refused is tried again in the next round.
func (w *world) create(pod *corev1.Pod) {
	_, _ = w.store.Create(kubeapi.Pods, pod)
}

// remove ends a pod as an API delete would: its kubelet takes it away.
func (w *world) remove(p *corev1.Pod) {
	if p.DeletionTimestamp == nil {
		w.deletePod(p)
	}
}

func podReady(p *corev1.Pod) bool {
	return p.DeletionTimestamp == nil && slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

func countReady(pods []*corev1.Pod) int32 {
	var n int32
	for _, p := range pods {
		if podReady(p) {
			n++
		}
	}
	return n
}

// living are the pods that are not on their way out.
func living(pods []*corev1.Pod) []*corev1.Pod {
	return slices.DeleteFunc(slices.Clone(pods), func(p *corev1.Pod) bool {
		return p.DeletionTimestamp != nil || p.Status.Phase == corev1.PodFailed || p.Status.Phase == corev1.PodSucceeded
	})
}

// syncDaemonSets keeps one pod on every node that admits it.
func (w *world) syncDaemonSets() {
	for _, ds := range list[appsv1.DaemonSet](w.cluster, kubeapi.DaemonSets) {
		if ds.DeletionTimestamp == nil {
			w.syncDaemonSet(ds)
		}
	}
}

func (w *world) syncDaemonSet(ds *appsv1.DaemonSet) {
	hash := w.hashOf(ds, &ds.Spec.Template)
	byNode := map[string][]*corev1.Pod{}
	for _, p := range w.byOwner[ds.UID] {
		byNode[p.Spec.NodeName] = append(byNode[p.Spec.NodeName], p)
	}
	extra := daemonTolerations(ds.Spec.Template.Spec.HostNetwork)
	st := appsv1.DaemonSetStatus{ObservedGeneration: ds.Generation}
	var outdated []*corev1.Pod
	for _, n := range w.nodes {
		pods := byNode[n.Name]
		alive := living(pods)
		if !admits(n, &ds.Spec.Template.Spec, extra) {
			w.leaveNode(n, ds, pods, extra, &st)
			continue
		}
		st.DesiredNumberScheduled++
		if len(alive) == 0 {
			if len(pods) > 0 {
				continue
			}
			if pod, ok := w.newPod(ds, appsv1.SchemeGroupVersion.WithKind("DaemonSet"), &ds.Spec.Template, hash); ok {
				pod.Spec.NodeName = n.Name
				pod.Spec.Tolerations = append(pod.Spec.Tolerations, extra...)
				w.create(pod)
			}
			continue
		}
		st.CurrentNumberScheduled++
		p := alive[0]
		if podReady(p) {
			st.NumberReady++
			st.NumberAvailable++
		}
		if p.Labels[hashLabel] == hash {
			st.UpdatedNumberScheduled++
		} else {
			outdated = append(outdated, p)
		}
	}
	st.NumberUnavailable = st.DesiredNumberScheduled - st.NumberAvailable
	if len(outdated) > 0 && ds.Spec.UpdateStrategy.Type != appsv1.OnDeleteDaemonSetStrategyType {
		w.replaceOne(outdated, st.NumberUnavailable)
	}
	if same(ds.Status, st) {
		return
	}
	next := ds.DeepCopy()
	next.Status = st
	w.replace(kubeapi.DaemonSets, next)
}

// leaveNode counts and, where a NoExecute taint or the selector says so, removes a pod of a node that does not admit
// it (any longer).
func (w *world) leaveNode(n *corev1.Node, ds *appsv1.DaemonSet, pods []*corev1.Pod, extra []corev1.Toleration, st *appsv1.DaemonSetStatus) {
	if len(living(pods)) == 0 {
		return
	}
	tolerations := append(slices.Clone(ds.Spec.Template.Spec.Tolerations), extra...)
	taints := untolerated(nodeTaints(n), tolerations, corev1.TaintEffectNoSchedule)
	if taints != nil && untolerated(nodeTaints(n), tolerations, corev1.TaintEffectNoExecute) == nil {
		// A pod that runs stays although a new one would not be put here.
		st.DesiredNumberScheduled++
		st.CurrentNumberScheduled++
		st.UpdatedNumberScheduled++
		ready := countReady(pods)
		st.NumberReady += ready
		st.NumberAvailable += ready
		return
	}
	st.NumberMisscheduled++
	for _, p := range pods {
		w.remove(p)
	}
}

// replaceOne removes outdated pods: those that are not ready at once, and one ready one at a time.
func (w *world) replaceOne(outdated []*corev1.Pod, unavailable int32) {
	for _, p := range outdated {
		if !podReady(p) {
			w.remove(p)
		}
	}
	if unavailable > 0 {
		return
	}
	for _, p := range outdated {
		if podReady(p) {
			w.remove(p)
			return
		}
	}
}

// syncDeployments keeps one replica set per template and moves replicas to the newest.
func (w *world) syncDeployments() {
	sets := list[appsv1.ReplicaSet](w.cluster, kubeapi.ReplicaSets)
	for _, d := range list[appsv1.Deployment](w.cluster, kubeapi.Deployments) {
		if d.DeletionTimestamp != nil {
			continue
		}
		var own []*appsv1.ReplicaSet
		for _, rs := range sets {
			if metav1.IsControlledBy(rs, d) {
				own = append(own, rs)
			}
		}
		w.syncDeployment(d, own)
	}
}

func (w *world) syncDeployment(d *appsv1.Deployment, sets []*appsv1.ReplicaSet) {
	hash := w.hashOf(d, &d.Spec.Template)
	want := int32(1)
	if d.Spec.Replicas != nil {
		want = *d.Spec.Replicas
	}
	name := d.Name + "-" + hash
	st := appsv1.DeploymentStatus{ObservedGeneration: d.Generation}
	var current *appsv1.ReplicaSet
	for _, rs := range sets {
		st.Replicas += rs.Status.Replicas
		st.ReadyReplicas += rs.Status.ReadyReplicas
		st.AvailableReplicas += rs.Status.AvailableReplicas
		if rs.Name == name {
			current = rs
		}
	}
	if current == nil {
		w.createReplicaSet(d, name, hash, want)
	} else {
		st.UpdatedReplicas = current.Status.Replicas
		w.scale(current, want)
		for _, rs := range sets {
			if rs != current && current.Status.AvailableReplicas >= want {
				w.scale(rs, 0)
			}
		}
	}
	st.UnavailableReplicas = max(0, want-st.AvailableReplicas)
	w.deploymentConditions(d, &st, want, current)
	if same(d.Status, st) {
		return
	}
	next := d.DeepCopy()
	next.Status = st
	w.replace(kubeapi.Deployments, next)
}

func (w *world) deploymentConditions(d *appsv1.Deployment, st *appsv1.DeploymentStatus, want int32, current *appsv1.ReplicaSet) {
	available, reason := corev1.ConditionFalse, "MinimumReplicasUnavailable"
	if st.AvailableReplicas >= want {
		available, reason = corev1.ConditionTrue, "MinimumReplicasAvailable"
	}
	progress := "ReplicaSetUpdated"
	if current != nil && current.Status.AvailableReplicas >= want && st.Replicas == want {
		progress = "NewReplicaSetAvailable"
	}
	for _, c := range []appsv1.DeploymentCondition{
		{Type: appsv1.DeploymentAvailable, Status: available, Reason: reason},
		{Type: appsv1.DeploymentProgressing, Status: corev1.ConditionTrue, Reason: progress},
	} {
		c.LastTransitionTime, c.LastUpdateTime = w.now(), w.now()
		for _, old := range d.Status.Conditions {
			if old.Type == c.Type && old.Status == c.Status && old.Reason == c.Reason {
				c = old
			}
		}
		st.Conditions = append(st.Conditions, c)
	}
}

func (w *world) createReplicaSet(d *appsv1.Deployment, name, hash string, replicas int32) {
	labels := maps.Clone(d.Spec.Template.Labels)
	if labels == nil {
		labels = map[string]string{}
	}
	labels[hashLabel] = hash
	rs := &appsv1.ReplicaSet{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: d.Namespace, Name: name, Labels: labels,
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(d, appsv1.SchemeGroupVersion.WithKind("Deployment"))},
		},
		Spec: appsv1.ReplicaSetSpec{Replicas: &replicas, Selector: d.Spec.Selector.DeepCopy(), Template: *d.Spec.Template.DeepCopy()},
	}
	rs.Spec.Template.Labels = labels
	if rs.Spec.Selector.MatchLabels == nil {
		rs.Spec.Selector.MatchLabels = map[string]string{}
	}
	rs.Spec.Selector.MatchLabels[hashLabel] = hash
	// A refusal shows in the next round.
	_, _ = w.store.Create(kubeapi.ReplicaSets, rs)
}

func (w *world) scale(rs *appsv1.ReplicaSet, replicas int32) {
	if rs.Spec.Replicas != nil && *rs.Spec.Replicas == replicas {
		return
	}
	next := rs.DeepCopy()
	next.Spec.Replicas = &replicas
	w.replace(kubeapi.ReplicaSets, next)
}

// syncReplicaSets keeps the number of pods.
func (w *world) syncReplicaSets() {
	for _, rs := range list[appsv1.ReplicaSet](w.cluster, kubeapi.ReplicaSets) {
		if rs.DeletionTimestamp != nil {
			continue
		}
		pods := living(w.byOwner[rs.UID])
		want := int32(1)
		if rs.Spec.Replicas != nil {
			want = *rs.Spec.Replicas
		}
		for range int(want) - len(pods) {
			if pod, ok := w.newPod(rs, appsv1.SchemeGroupVersion.WithKind("ReplicaSet"), &rs.Spec.Template, rs.Labels[hashLabel]); ok {
				w.create(pod)
			}
		}
		if extra := len(pods) - int(want); extra > 0 {
			// Those that are not ready go first.
			slices.SortStableFunc(pods, func(a, b *corev1.Pod) int { return boolRank(podReady(a)) - boolRank(podReady(b)) })
			for _, p := range pods[:extra] {
				w.remove(p)
			}
			pods = pods[extra:]
		}
		ready := countReady(pods)
		count := int32(len(pods))
		st := appsv1.ReplicaSetStatus{
			ObservedGeneration: rs.Generation, Replicas: count, FullyLabeledReplicas: count, ReadyReplicas: ready, AvailableReplicas: ready,
		}
		if same(rs.Status, st) {
			continue
		}
		next := rs.DeepCopy()
		next.Status = st
		w.replace(kubeapi.ReplicaSets, next)
	}
}

func boolRank(b bool) int {
	if b {
		return 1
	}
	return 0
}

// syncStatefulSets starts pods in the order of their numbers, one after the other.
func (w *world) syncStatefulSets() {
	for _, set := range list[appsv1.StatefulSet](w.cluster, kubeapi.StatefulSets) {
		if set.DeletionTimestamp != nil {
			continue
		}
		byName := map[string]*corev1.Pod{}
		for _, p := range w.byOwner[set.UID] {
			byName[p.Name] = p
		}
		want := 1
		if set.Spec.Replicas != nil {
			want = int(*set.Spec.Replicas)
		}
		hash := w.hashOf(set, &set.Spec.Template)
		st := appsv1.StatefulSetStatus{ObservedGeneration: set.Generation, CurrentRevision: hash, UpdateRevision: hash}
		for i := range want {
			name := fmt.Sprintf("%s-%d", set.Name, i)
			p, ok := byName[name]
			if !ok {
				if pod, ok := w.newPod(set, appsv1.SchemeGroupVersion.WithKind("StatefulSet"), &set.Spec.Template, hash); ok {
					pod.GenerateName, pod.Name = "", name
					w.create(pod)
				}
				break
			}
			delete(byName, name)
			st.Replicas++
			if p.Labels[hashLabel] != hash {
				w.remove(p)
				break
			}
			st.UpdatedReplicas++
			st.CurrentReplicas++
			if !podReady(p) && set.Spec.PodManagementPolicy != appsv1.ParallelPodManagement {
				break
			}
			if podReady(p) {
				st.ReadyReplicas++
				st.AvailableReplicas++
			}
		}
		for _, name := range slices.Sorted(maps.Keys(byName)) {
			if st.Replicas >= int32(want) {
				w.remove(byName[name])
			}
		}
		if same(set.Status, st) {
			continue
		}
		next := set.DeepCopy()
		next.Status = st
		w.replace(kubeapi.StatefulSets, next)
	}
}

// syncJobs runs a job's pods to completion.
func (w *world) syncJobs() {
	for _, job := range list[batchv1.Job](w.cluster, kubeapi.Jobs) {
		if job.DeletionTimestamp != nil || job.Status.CompletionTime != nil || job.Spec.Suspend != nil && *job.Spec.Suspend {
			continue
		}
		var done int32
		for _, p := range w.byOwner[job.UID] {
			if p.Status.Phase == corev1.PodSucceeded {
				done++
			}
		}
		want := int32(1)
		if job.Spec.Completions != nil {
			want = *job.Spec.Completions
		}
		active := living(w.byOwner[job.UID])
		if len(active) == 0 && done < want {
			if pod, ok := w.newPod(job, batchv1.SchemeGroupVersion.WithKind("Job"), &job.Spec.Template, templateHash(&job.Spec.Template)); ok {
				w.create(pod)
			}
		}
		next := job.DeepCopy()
		next.Status.Succeeded = done
		next.Status.Active = int32(len(active))
		if next.Status.StartTime == nil {
			now := w.now()
			next.Status.StartTime = &now
		}
		if done >= want {
			now := w.now()
			next.Status.CompletionTime = &now
			for _, kind := range []batchv1.JobConditionType{batchv1.JobSuccessCriteriaMet, batchv1.JobComplete} {
				next.Status.Conditions = append(next.Status.Conditions, batchv1.JobCondition{
					Type: kind, Status: corev1.ConditionTrue, Reason: "CompletionsReached", LastTransitionTime: now, LastProbeTime: now,
				})
			}
		}
		w.write(kubeapi.Jobs, next)
	}
}
