// SPDX-License-Identifier: Apache-2.0

package kubeapi

import (
	"fmt"
	"io"
	"mime"
	"net/http"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/yaml"
)

// maxJSONPatchOps is the API server's limit of operations in one JSON patch.
const maxJSONPatchOps = 10000

// servePatch answers PATCH in its four formats.
func (s *Server) servePatch(w http.ResponseWriter, r *http.Request, req *request, v view) error {
	if req.name == "" {
		return apierrors.NewMethodNotSupported(req.res.GroupResource(), "patch")
	}
	o, err := writeParams(r, req)
	if err != nil {
		return err
	}
	mediaType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		return unsupportedMediaType(r.Header.Get("Content-Type"))
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return fmt.Errorf("read body: %w", err)
	}
	if req.sub == subScale {
		return s.patchScale(w, req, o, types.PatchType(mediaType), body)
	}
	var out *unstructured.Unstructured
	code := http.StatusOK
	err = s.store.locked(func() error {
		var perr error
		if types.PatchType(mediaType) == types.ApplyYAMLPatchType {
			out, code, perr = s.store.applyPatch(req, o, r.URL.Query().Get("fieldManager"), isTrue(r.URL.Query().Get("force")), body)
			return perr
		}
		out, perr = s.store.patch(req, o, types.PatchType(mediaType), body)
		return perr
	})
	if err != nil {
		return err
	}
	warn(w, o)
	s.write(w, code, req.res, out, v)
	return nil
}

// applyPatch is server-side apply: an absent object is created.
func (s *Store) applyPatch(req *request, o *writeOptions, manager string, force bool, body []byte) (*unstructured.Unstructured, int, error) {
	if manager == "" {
		return nil, 0, apierrors.NewBadRequest("PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch")
	}
	raw, err := yaml.YAMLToJSON(body)
	if err != nil {
		return nil, 0, apierrors.NewBadRequest("error decoding YAML: " + err.Error())
	}
	patch, err := decodeObject(raw)
	if err != nil {
		return nil, 0, err
	}
	if err := matchPath(patch, req); err != nil {
		return nil, 0, err
	}
	live, err := s.find(req.res, req.ns, req.name)
	if err != nil {
		if req.sub != "" || patch.GetUID() != "" {
			return nil, 0, err
		}
		live = nil
	}
	merged, err := s.apply(req.res, live, patch, o, force)
	if err != nil {
		return nil, 0, err
	}
	o.applied = true
	if live == nil {
		if err := s.checkNamespace(req.res, req.ns); err != nil {
			return nil, 0, err
		}
		merged.SetResourceVersion("")
		out, err := s.create(req.res, merged, o)
		return out, http.StatusCreated, err
	}
	out, err := s.update(req.res, live, merged, o)
	return out, http.StatusOK, err
}

// patch computes the patched object and updates it. A patch without a resourceVersion cannot conflict, since the lock
// is held between reading and writing.
func (s *Store) patch(req *request, o *writeOptions, kind types.PatchType, body []byte) (*unstructured.Unstructured, error) {
	old, err := s.find(req.res, req.ns, req.name)
	if err != nil {
		return nil, err
	}
	u, err := patchObject(req.res, asVersion(old, req.res), kind, body)
	if err != nil {
		return nil, err
	}
	if err := matchPath(u, req); err != nil {
		return nil, err
	}
	return s.update(req.res, old, u, o)
}

func patchObject(r *resource, old *unstructured.Unstructured, kind types.PatchType, body []byte) (*unstructured.Unstructured, error) {
	before, err := old.MarshalJSON()
	if err != nil {
		return nil, apierrors.NewInternalError(err)
	}
	var after []byte
	switch kind {
	case types.JSONPatchType:
		patch, derr := jsonpatch.DecodePatch(body)
		if derr != nil {
			return nil, apierrors.NewBadRequest("invalid JSON patch: " + derr.Error())
		}
		if len(patch) > maxJSONPatchOps {
			return nil, apierrors.NewRequestEntityTooLargeError(fmt.Sprintf("the allowed maximum operations in a JSON patch is %d", maxJSONPatchOps))
		}
		if after, err = patch.Apply(before); err != nil {
			return nil, apierrors.NewGenericServerResponse(http.StatusUnprocessableEntity, "", r.GroupResource(), old.GetName(), err.Error(), 0, false)
		}
	case types.MergePatchType:
		if after, err = jsonpatch.MergePatch(before, body); err != nil {
			return nil, apierrors.NewBadRequest("invalid merge patch: " + err.Error())
		}
	case types.StrategicMergePatchType:
		if !r.typed {
			return nil, unsupportedMediaType(string(kind))
		}
		typed, nerr := scheme.Scheme.New(r.gvk())
		if nerr != nil {
			return nil, apierrors.NewInternalError(nerr)
		}
		if after, err = strategicpatch.StrategicMergePatch(before, body, typed); err != nil {
			return nil, apierrors.NewBadRequest("invalid strategic merge patch: " + err.Error())
		}
	default:
		return nil, unsupportedMediaType(string(kind))
	}
	return decodeObject(after)
}

// scaleOf presents an object's replicas as autoscaling/v1 Scale.
func scaleOf(u *unstructured.Unstructured) map[string]any {
	replicas, _, err := unstructured.NestedInt64(u.Object, "spec", "replicas")
	if err != nil {
		replicas = 0
	}
	observed, _, err := unstructured.NestedInt64(u.Object, "status", "replicas")
	if err != nil {
		observed = 0
	}
	status := map[string]any{"replicas": observed}
	if raw, _, err := unstructured.NestedMap(u.Object, "spec", "selector"); err == nil {
		var ls metav1.LabelSelector
		if convert(raw, &ls) == nil {
			status["selector"] = metav1.FormatLabelSelector(&ls)
		}
	}
	return map[string]any{
		"kind": "Scale", "apiVersion": "autoscaling/v1",
		"metadata": map[string]any{
			"name": u.GetName(), "namespace": u.GetNamespace(), "uid": string(u.GetUID()),
			"resourceVersion": u.GetResourceVersion(),
		},
		"spec":   map[string]any{"replicas": replicas},
		"status": status,
	}
}

func (s *Server) putScale(w http.ResponseWriter, r *http.Request, req *request) error {
	o, err := writeParams(r, req)
	if err != nil {
		return err
	}
	body, err := readBody(r)
	if err != nil {
		return err
	}
	scale, err := decodeObject(body)
	if err != nil {
		return err
	}
	return s.setScale(w, req, o, func(*unstructured.Unstructured) (*unstructured.Unstructured, error) { return scale, nil })
}

func (s *Server) patchScale(w http.ResponseWriter, req *request, o *writeOptions, kind types.PatchType, body []byte) error {
	return s.setScale(w, req, o, func(now *unstructured.Unstructured) (*unstructured.Unstructured, error) {
		if kind == types.StrategicMergePatchType {
			kind = types.MergePatchType
		}
		return patchObject(req.res, now, kind, body)
	})
}

// setScale writes spec.replicas through the scale subresource.
func (s *Server) setScale(w http.ResponseWriter, req *request, o *writeOptions, next func(*unstructured.Unstructured) (*unstructured.Unstructured, error)) error {
	var out *unstructured.Unstructured
	err := s.store.locked(func() error {
		old, err := s.store.find(req.res, req.ns, req.name)
		if err != nil {
			return err
		}
		scale, err := next(&unstructured.Unstructured{Object: scaleOf(old)})
		if err != nil {
			return err
		}
		replicas, ok, err := unstructured.NestedInt64(scale.Object, "spec", "replicas")
		if err != nil || ok && replicas < 0 {
			return invalid(req.res, req.name, "spec.replicas", replicas, "must be greater than or equal to 0")
		}
		u := old.DeepCopy()
		u.SetResourceVersion(scale.GetResourceVersion())
		setNested(u, replicas, "spec", "replicas")
		o.subresource = ""
		out, err = s.store.update(req.res, old, u, o)
		return err
	})
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, scaleOf(out))
	return nil
}
