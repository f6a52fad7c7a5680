// SPDX-License-Identifier: Apache-2.0

package api

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"reflect"
	"slices"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/pack"
	"github.com/lazuli-dev/lazuli/internal/wire"
)

// getRepave answers why machines ought to be replaced, as far as the engine
// found. Nothing awaits an approval: no machine is replaced in this release.
func getRepave(a *API, c *call) (any, error) {
	cl, err := get[lazuli.Cluster](c.ctx(), a.Store, c, c.param("uid"))
	if err != nil {
		return nil, err
	}
	out := wire.SpectroClusterRepave{
		Metadata: &wire.ObjectMeta{Name: cl.Name, UID: cl.UID},
		Spec:     &wire.SpectroClusterRepaveSpec{SpectroClusterUID: cl.UID, Reasons: []wire.SpectroClusterRepaveReason{}},
		Status:   &wire.SpectroClusterRepaveStatus{State: wire.ClusterRepaveStateApproved},
	}
	for _, n := range cl.Status.Notices {
		out.Spec.Reasons = append(out.Spec.Reasons, wire.SpectroClusterRepaveReason{Code: "MachinesDiffer", Message: n.Message})
	}
	return out, nil
}

// approveRepave takes an approval that nothing waits for.
func approveRepave(a *API, c *call) (any, error) {
	return nil, a.changeCluster(c, c.param("uid"), func(ch *change) error {
		ch.idle = true
		return nil
	})
}

// validateRepave tells whether machines would have to be replaced for profiles.
func validateRepave(a *API, c *call) (any, error) {
	var in profilesBody
	if err := decode(c.body, &in); err != nil {
		return nil, err
	}
	cl, err := get[lazuli.Cluster](c.ctx(), a.Store, c, c.param("uid"))
	if err != nil {
		return nil, err
	}
	if len(in.Profiles) > maxProfiles {
		var f lazuli.Fields
		f.Add("profiles", "has more than %d entries", maxProfiles)
		return nil, f.Err()
	}
	m := merger{api: a, f: &findings{}}
	before, err := a.resolved(c.ctx(), a.Store, c, cl, nil)
	if err != nil {
		return nil, err
	}
	ch := &change{call: c, reader: a.Store, cl: cl}
	snaps, err := ch.attachAll(&m, in.Profiles, false)
	if err != nil {
		return nil, err
	}
	cl.Profiles = snaps // of what was read, and stored nowhere
	after, err := ch.settle(a, &m)
	if err != nil {
		return nil, err
	}
	out := wire.SpectroClusterRepaveValidationResponse{Reasons: []wire.SpectroClusterRepaveReason{}}
	was, errWas := a.Packs.Settings(layersOf(before))
	now, errNow := a.Packs.Settings(layersOf(after))
	if errWas == nil && errNow == nil {
		for _, what := range repaves(&was, &now) {
			out.Reasons = append(out.Reasons, wire.SpectroClusterRepaveReason{Code: "MachinesDiffer", Message: what + " changes"})
		}
	}
	out.IsRepaveRequired = len(out.Reasons) > 0
	return out, nil
}

// repaves names the settings in which two profiles' machines would differ.
func repaves(was, now *pack.Settings) []string {
	var out []string
	for _, x := range []struct {
		what     string
		was, now any
	}{
		{"the Kubernetes version", was.KubernetesVersion, now.KubernetesVersion},
		{"the image of the machines", was.Image, now.Image},
		{"the range of the pods", was.PodCIDR, now.PodCIDR},
		{"the range of the Services", was.ServiceCIDR, now.ServiceCIDR},
		{"the DNS domain", was.DNSDomain, now.DNSDomain},
		{"the names on the API server's certificate", was.APIServerSANs, now.APIServerSANs},
		{"the mirror that machines install from", was.Mirror, now.Mirror},
	} {
		if !reflect.DeepEqual(x.was, x.now) {
			out = append(out, x.what)
		}
	}
	return out
}

// getCertificates answers the authorities of a cluster's control plane, for each
// of its machines. Certificates that kubeadm made on the machines are not known
// here.
func getCertificates(a *API, c *call) (any, error) {
	cl, err := get[lazuli.Cluster](c.ctx(), a.Store, c, c.param("uid"))
	if err != nil {
		return nil, err
	}
	out := wire.MachineCertificates{MachineCertificates: []wire.MachineCertificate{}}
	secrets, err := a.secretsOf(c, cl)
	if err != nil || secrets == nil {
		return out, err
	}
	authorities := authoritiesOf(secrets.PKI)
	machines, err := a.machines(c, cl.UID)
	if err != nil {
		return nil, err
	}
	for i := range machines {
		if machines[i].ControlPlane && !machines[i].Going() {
			out.MachineCertificates = append(out.MachineCertificates, wire.MachineCertificate{
				Name: machines[i].Name, CertificateAuthorities: authorities,
			})
		}
	}
	return out, nil
}

// authoritiesOf reads the certificates, and nothing else, of a cluster's keys: a
// JSON object whose members may have a certificate.
func authoritiesOf(pki []byte) []wire.CertificateAuthority {
	var members map[string]json.RawMessage
	if json.Unmarshal(pki, &members) != nil {
		return nil
	}
	var out []wire.CertificateAuthority
	for _, name := range sortedKeys(members) {
		var pair map[string]string
		if json.Unmarshal(members[name], &pair) != nil {
			continue
		}
		for _, key := range sortedKeys(pair) {
			block, _ := pem.Decode([]byte(pair[key]))
			if block == nil || block.Type != "CERTIFICATE" {
				continue
			}
			if cert, err := x509.ParseCertificate(block.Bytes); err == nil && cert.IsCA {
				out = append(out, wire.CertificateAuthority{Name: cert.Subject.CommonName, Expiry: wire.At(cert.NotAfter)})
			}
		}
	}
	slices.SortFunc(out, func(x, y wire.CertificateAuthority) int { return x.Expiry.Compare(y.Expiry.Time) })
	return out
}

// renewCertificates records that the control plane's certificates shall be
// renewed.
func renewCertificates(a *API, c *call) (any, error) {
	return nil, a.changeCluster(c, c.param("uid"), func(ch *change) error {
		ch.cl.RenewAt = a.Now().UTC()
		ch.say("CertificatesRenewRequested", "%s asked for new certificates of the control plane.", c.actor.Name)
		return nil
	})
}

// secretsOf opens the keys of a cluster; nil while there are none.
func (a *API) secretsOf(c *call, cl *lazuli.Cluster) (*lazuli.ClusterSecrets, error) {
	var keys lazuli.Keys
	err := a.Store.Get(c.ctx(), cl.UID, &keys)
	if lazuli.CodeOf(err) == lazuli.CodeNotFound {
		return nil, nil //nolint:nilnil // there are none yet
	}
	if err != nil {
		return nil, fmt.Errorf("read the keys of cluster %s: %w", cl.UID, err)
	}
	plain, err := a.Seal.Unseal(keys.Sealed, lazuli.KeysAAD(cl.UID))
	if err != nil {
		return nil, fmt.Errorf("open the keys of cluster %s: %w", cl.UID, err)
	}
	var secrets lazuli.ClusterSecrets
	if json.Unmarshal(plain, &secrets) != nil {
		// The decoder's own text could quote a key.
		return nil, lazuli.Errorf(lazuli.CodeInternal, "read the keys of cluster %s: not of the form that is known", cl.UID)
	}
	return &secrets, nil
}
