// SPDX-License-Identifier: Apache-2.0

package bootstrap

import (
	"fmt"
	"strings"
)

// Versions that stock images get whatever the Kubernetes version.
const (
	containerdVersion = "2.3.2" // what image-builder bakes into its images in July 2026
	runcVersion       = "1.4.3" // the same
	// packageRevision ends the version of the packages at pkgs.k8s.io.
	packageRevision = "-1.1"
)

// kubernetesRelease is what goes with a minor version of Kubernetes.
type kubernetesRelease struct {
	minor string // such as 1.36
	pause string // tag of the sandbox image: kubeadm's constant of that minor
}

// release finds the release of a version, or says which are supported.
func release(version string) (kubernetesRelease, error) {
	releases := []kubernetesRelease{{"1.35", "3.10.1"}, {"1.36", "3.10.2"}, {"1.37", "3.10.2"}}
	if !versionPattern.MatchString(version) {
		return kubernetesRelease{}, fmt.Errorf("%q is not of the form 1.36.3", version)
	}
	minor := version[:strings.LastIndex(version, ".")]
	for _, r := range releases {
		if r.minor == minor {
			return r, nil
		}
	}
	return kubernetesRelease{}, fmt.Errorf("%s is not supported, 1.35, 1.36 and 1.37 are", version)
}
