// SPDX-License-Identifier: Apache-2.0

package kubeapi

import (
	"fmt"
	"net/http"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// reviewKinds are the questions that "kubectl auth" asks: resource to kind.
func reviewKinds() map[schema.GroupVersionResource]string {
	return map[schema.GroupVersionResource]string{
		{Group: "authentication.k8s.io", Version: "v1", Resource: "selfsubjectreviews"}:      "SelfSubjectReview",
		{Group: "authorization.k8s.io", Version: "v1", Resource: "selfsubjectaccessreviews"}: "SelfSubjectAccessReview",
	}
}

func isReview(gvr schema.GroupVersionResource) bool {
	_, ok := reviewKinds()[gvr]
	return ok
}

func reviewResources(gv schema.GroupVersion) []metav1.APIResource {
	for gvr, kind := range reviewKinds() {
		if gvr.GroupVersion() == gv {
			return []metav1.APIResource{{Name: gvr.Resource, Kind: kind, Verbs: metav1.Verbs{"create"}}}
		}
	}
	return nil
}

// serveReview answers who the caller is and what the caller may do.
func (s *Server) serveReview(w http.ResponseWriter, r *http.Request, req *request, user User) {
	if r.Method != http.MethodPost {
		s.fail(w, apierrors.NewMethodNotSupported(req.gvr.GroupResource(), req.verb))
		return
	}
	if reviewKinds()[req.gvr] == "SelfSubjectReview" {
		writeJSON(w, http.StatusCreated, authenticationv1.SelfSubjectReview{
			TypeMeta: metav1.TypeMeta{Kind: "SelfSubjectReview", APIVersion: "authentication.k8s.io/v1"},
			Status: authenticationv1.SelfSubjectReviewStatus{
				UserInfo: authenticationv1.UserInfo{Username: user.Name, Groups: user.Groups},
			},
		})
		return
	}
	body, err := readBody(r)
	if err != nil {
		s.fail(w, err)
		return
	}
	u, err := decodeObject(body)
	if err != nil {
		s.fail(w, err)
		return
	}
	review := &authorizationv1.SelfSubjectAccessReview{}
	if err := convert(u.Object, review); err != nil {
		s.fail(w, apierrors.NewBadRequest(err.Error()))
		return
	}
	review.TypeMeta = metav1.TypeMeta{Kind: "SelfSubjectAccessReview", APIVersion: "authorization.k8s.io/v1"}
	path, asked := "", (*request)(nil)
	if a := review.Spec.ResourceAttributes; a != nil {
		asked = &request{
			gvr:  schema.GroupVersionResource{Group: a.Group, Version: a.Version, Resource: a.Resource},
			ns:   a.Namespace,
			name: a.Name, sub: a.Subresource, verb: a.Verb,
		}
	} else if a := review.Spec.NonResourceAttributes; a != nil {
		path = a.Path
	}
	review.Status.Allowed = authorize(user, path, asked) == nil
	writeJSON(w, http.StatusCreated, review)
}

// serveEviction deletes a pod unless a disruption budget forbids it (429, as the API server answers).
func (s *Server) serveEviction(w http.ResponseWriter, r *http.Request, req *request) error {
	body, err := readBody(r)
	if err != nil {
		return err
	}
	u, err := decodeObject(body)
	if err != nil {
		return err
	}
	o, err := writeParams(r, req)
	if err != nil {
		return err
	}
	d := &metav1.DeleteOptions{}
	if raw, ok, nerr := unstructured.NestedMap(u.Object, "deleteOptions"); nerr == nil && ok {
		if err := convert(raw, d); err != nil {
			return apierrors.NewBadRequest("deleteOptions: " + err.Error())
		}
	}
	if dry, err := dryRun(d.DryRun); err != nil {
		return err
	} else if dry {
		o.dryRun = true
	}
	err = s.store.locked(func() error {
		pod, ferr := s.store.find(req.res, req.ns, req.name)
		if ferr != nil {
			return ferr
		}
		if berr := s.store.checkBudgets(pod); berr != nil {
			return berr
		}
		_, _, rerr := s.store.remove(req.res, pod, d, o)
		return rerr
	})
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusCreated, metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusSuccess, Code: http.StatusCreated,
	})
	return nil
}

// checkBudgets counts the ready pods of every budget that covers a pod.
func (s *Store) checkBudgets(pod *unstructured.Unstructured) error {
	if conditionStatus(pod, "Ready") != "True" {
		return nil
	}
	for _, budget := range sortedItems(s.data[podDisruptionBudgets].items, pod.GetNamespace()) {
		raw, _, err := unstructured.NestedMap(budget.Object, "spec", "selector")
		if err != nil || len(raw) == 0 {
			continue
		}
		selector, err := labelSelector(raw)
		if err != nil || !selector.Matches(labelSet(pod.GetLabels())) {
			continue
		}
		total, ready := 0, 0
		for _, p := range sortedItems(s.data[Pods].items, pod.GetNamespace()) {
			if selector.Matches(labelSet(p.GetLabels())) {
				total++
				if conditionStatus(p, "Ready") == "True" && p.GetDeletionTimestamp() == nil {
					ready++
				}
			}
		}
		if ready-1 < budgetFloor(budget, total) {
			terr := apierrors.NewTooManyRequests("Cannot evict pod as it would violate the pod's disruption budget.", 0)
			terr.ErrStatus.Details.Causes = append(terr.ErrStatus.Details.Causes, metav1.StatusCause{
				Type: "DisruptionBudget", Message: fmt.Sprintf(
					"The disruption budget %s does not allow the eviction now", budget.GetName())})
			return terr
		}
	}
	return nil
}

// budgetFloor is how many ready pods a budget wants to keep out of total.
func budgetFloor(budget *unstructured.Unstructured, total int) int {
	read := func(field string, roundUp bool) (int, bool) {
		value, ok, err := unstructured.NestedFieldNoCopy(budget.Object, "spec", field)
		if err != nil || !ok {
			return 0, false
		}
		var want intstr.IntOrString
		switch v := value.(type) {
		case int64:
			want = intstr.FromInt32(int32(min(v, int64(total))))
		case string:
			want = intstr.FromString(v)
		default:
			return 0, false
		}
		n, err := intstr.GetScaledValueFromIntOrPercent(&want, total, roundUp)
		return n, err == nil
	}
	if n, ok := read("minAvailable", true); ok {
		return n
	}
	if n, ok := read("maxUnavailable", true); ok {
		return total - n
	}
	return 0
}
