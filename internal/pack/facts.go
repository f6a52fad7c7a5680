// SPDX-License-Identifier: Apache-2.0

package pack

import "github.com/lazuli-dev/lazuli"

// Facts are what {{.spectro.system.NAME}} tells of a cluster. What is empty is
// not defined.
type Facts struct {
	ClusterName, ClusterUID     string
	AccountName, AccountUID     string
	ProjectName, ProjectUID     string
	TenantUID                   string
	UserName, UserUID, UserMail string // of whoever created the cluster
	Region                      string
}

// System are the facts by their names in expressions. The profile's own names
// and the version of Kubernetes are added where profiles are resolved.
func (f Facts) System() map[string]string {
	out := map[string]string{"cloud.type": "azure"}
	for name, value := range map[string]string{
		"cluster.name": f.ClusterName, "cluster.uid": f.ClusterUID,
		"cloudaccount.name": f.AccountName, "cloudaccount.uid": f.AccountUID,
		"project.name": f.ProjectName, "project.uid": f.ProjectUID, "tenant.uid": f.TenantUID,
		"user.name": f.UserName, "user.uid": f.UserUID, "user.email": f.UserMail, "cloud.region": f.Region,
	} {
		if value != "" {
			out[name] = value
		}
	}
	return out
}

// HasExpressions reports whether profiles may refer to anything that has to be
// known before they are deployed.
func HasExpressions(profiles []lazuli.ProfileSnapshot) bool {
	for _, p := range profiles {
		for _, l := range p.Layers {
			if hasMacro(l.Values) {
				return true
			}
			for _, m := range l.Manifests {
				if hasMacro(m.Content) {
					return true
				}
			}
		}
	}
	return false
}

// Opener opens what is sealed for aad.
type Opener interface {
	Unseal(sealed lazuli.Sealed, aad string) ([]byte, error)
}

// Scoped gives the profiles of a cluster the values of their variables.
func Scoped(clusterUID string, profiles []lazuli.ProfileSnapshot, o Opener) ([]ScopedProfile, error) {
	out := make([]ScopedProfile, len(profiles))
	for i, p := range profiles {
		vars, err := SnapshotVariables(p, o)
		if err != nil {
			return nil, err
		}
		given, err := Values(p, func(s lazuli.Sealed) (string, error) {
			plain, err := o.Unseal(s, lazuli.ClusterVariableAAD(clusterUID))
			return string(plain), err //nolint:wrapcheck // names the holder
		})
		if err != nil {
			return nil, err
		}
		out[i] = ScopedProfile{ProfileSnapshot: p, Values: EffectiveValues(vars, given)}
	}
	return out, nil
}
