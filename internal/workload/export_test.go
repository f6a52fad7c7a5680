// SPDX-License-Identifier: Apache-2.0

package workload

import "k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

// Readiness is readiness for tests.
func Readiness(u *unstructured.Unstructured) (ready bool, why string) { return readiness(u) }
