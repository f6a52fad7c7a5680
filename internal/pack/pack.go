// SPDX-License-Identifier: Apache-2.0

package pack

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"slices"

	"github.com/lazuli-dev/lazuli"
)

// Layer is the place of a pack in a profile; the names are Palette's.
type Layer string

// The layers. Kernel is known to the wire but has no built-in pack.
const (
	LayerKernel Layer = "kernel"
	LayerOS     Layer = "os"
	LayerK8s    Layer = "k8s"
	LayerCNI    Layer = "cni"
	LayerCSI    Layer = "csi"
	LayerAddon  Layer = "addon"
)

// The types of a layer (V1PackType).
const (
	TypeSpectro  = "spectro" // a pack of a registry
	TypeHelm     = "helm"
	TypeManifest = "manifest" // documents that the user wrote into the profile
	TypeOCI      = "oci"
)

// Stage says when a release goes into a new cluster. A stage starts when the
// ones before it are applied; the reason for the order is the taint
// node.cloudprovider.kubernetes.io/uninitialized, which only the node
// initialiser's and the network's pods have to live with.
type Stage string

// The stages, in their order.
const (
	StageNodeInitialiser Stage = "node-initialiser"
	StageNetwork         Stage = "network"
	StageCloudController Stage = "cloud-controller"
	StageStorage         Stage = "storage"
	StageAddon           Stage = "addon"
)

// Stages returns all stages in the order in which they are applied.
func Stages() []Stage {
	return []Stage{StageNodeInitialiser, StageNetwork, StageCloudController, StageStorage, StageAddon}
}

// Names of the built-in packs and annotations with a meaning to this package.
const (
	packUbuntu     = "ubuntu-azure"
	packKubernetes = "kubernetes"
	packCalico     = "cni-calico-azure"

	annotationOffer       = "imageOffer"
	annotationPublisher   = "imagePublisher"
	annotationSKU         = "imageSKU" // of generation 2, the one that Palette knows
	annotationSKUGen1     = "imageSKUGen1"
	annotationSKUArm64    = "imageSKUArm64"
	annotationSSHUser     = "sshUsername"
	annotationNodeCIDRs   = "allocateNodeCIDRs"      // "true": the network wants each Node to have a piece of the pod range
	annotationMinorTested = "testedKubernetesMinors" // comma-separated, by the maker of the software
)

// Pack is one version of a pack. It is a value: changing a copy changes nothing
// in the registry.
type Pack struct {
	UID          string // 24 hexadecimal digits, stable
	Name         string
	DisplayName  string
	Version      string
	Group        string   // the tag of its release line, such as 1.36.x
	Tags         []string // all that select it: the version, the group, further ones
	Layer        Layer
	Type         string // TypeSpectro
	CloudTypes   []string
	RegistryUID  string
	RegistryName string
	AddonType    string
	AddonSubType string
	Values       string // values.yaml, verbatim
	Annotations  map[string]string
	Readme       string // Markdown
	LogoURL      string
	EOL          string // date, "" where the maker states none
	Digest       string // sha256:hex of all its files
	Stages       []Stage
}

// HasTag reports whether tag selects the pack.
func (p Pack) HasTag(tag string) bool { return slices.Contains(p.Tags, tag) }

// FieldError is one finding about a profile. Code is stable.
type FieldError struct {
	Path    string // such as spec.template.packs[2].tag
	Code    string
	Message string
}

// The codes of findings.
const (
	CodeLayerMissing    = "LayerMissing"
	CodeLayerDuplicate  = "LayerDuplicate"
	CodeLayerOrder      = "LayerOrder"
	CodeLayerForbidden  = "LayerForbidden"
	CodeNameMissing     = "PackNameMissing"
	CodeNameDuplicate   = "PackNameDuplicate"
	CodePackUnknown     = "PackUnknown"
	CodeVersionUnknown  = "PackVersionUnknown"
	CodeRegistryUnknown = "RegistryUnknown"
	CodeTypeUnknown     = "PackTypeUnknown"
	CodeValuesInvalid   = "PackValuesInvalid"
	CodeManifestInvalid = "ManifestInvalid"
	CodeProfileType     = "ProfileTypeUnknown"
	CodeVariableInvalid = "VariableInvalid"        // a declaration
	CodeVariableValue   = "VariableValueInvalid"   // a value that a cluster gives
	CodeVariableMissing = "VariableValueMissing"   // a required variable without a value
	CodeUndefined       = "PackVariablesUndefined" // Palette's name: a pack refers to a variable that is not declared
	CodeMacroUndefined  = "MacroUndefined"
	CodeTemplateInvalid = "PackTemplateInvalid" // {{...}} that cannot be read
	CodeValueIgnored    = "ValueIgnored"        // a notice: the key has no effect
	CodeChartIgnored    = "ChartNotInstalled"   // a notice: a helm or oci pack is stored and not deployed
	CodeLayerImplied    = "LayerImplied"        // a notice: see Imply
	CodeVersionUntested = "VersionUntested"     // a notice: the maker did not test the pair
)

// Findings are all findings about a profile, in the order of its layers.
type Findings []FieldError

// Err returns nil without findings, else a *lazuli.Error with one field per
// finding: of lazuli.CodeVariablesUndefined where a pack refers to a variable
// that is not declared, else of lazuli.CodeInvalidField.
func (f Findings) Err() error {
	var fields lazuli.Fields
	code := lazuli.CodeInvalidField
	for _, e := range f {
		fields.Add(e.Path, "%s", e.Message)
		if e.Code == CodeUndefined {
			code = lazuli.CodeVariablesUndefined
		}
	}
	err := fields.Err()
	if e, ok := errors.AsType[*lazuli.Error](err); ok {
		e.Code = code
	}
	return err
}

// stableUID derives a uid from names, so that it survives restarts and is the
// same on every replica.
func stableUID(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		h.Write([]byte(p))
		h.Write([]byte{0})
	}
	return hex.EncodeToString(h.Sum(nil))[:lazuli.UIDLength]
}
