// SPDX-License-Identifier: Apache-2.0

package kubeapi

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// EnsureNamespace creates a namespace that is not there yet.
func (s *Store) EnsureNamespace(name string) error {
	if _, ok := s.Get(Namespaces, "", name); ok {
		return nil
	}
	u := &unstructured.Unstructured{Object: map[string]any{}}
	u.SetName(name)
	_, err := s.Create(Namespaces, u)
	return err
}
