// SPDX-License-Identifier: Apache-2.0

// Package pack turns the layers of a cluster profile into Kubernetes documents
// and into the settings that a deployment needs of them.
//
// A pack is a directory:
//
//	pack.json            who it is, which layer it fills, which manifest belongs to which stage
//	values.yaml          every value with its default: also the list of the keys that have an effect
//	manifests/*.yaml     Go text/template over .Values, .Cluster and .Pack
//	README.md            what it installs, where each fact comes from, what was not verified
//
// The built-in registry, "Public Repo", is embedded: builtin/NAME/VERSION/ laid
// over builtin/NAME/common/, so that a new version is one small file. Its uids
// are hashes of registry, name and version: the same after every restart and on
// every hub.
//
// A template cannot let a value change the shape of a document: every action's
// result has to pass through quote, integer, toYaml or b64, which yield one YAML
// scalar or flow collection on one line. Anything else is an error when the template
// runs, not a document that says something else.
//
//	values.yaml <- layer's values (deep merge, null deletes) -> templates -> releases by stage
//
//	node-initialiser -> network -> cloud-controller -> storage -> addon
//
// Values and manifests may refer to what is known only of a cluster:
//
//	{{.spectro.var.NAME}}        a variable that the profile declares
//	{{.spectro.macro.NAME}}      a macro of the project, or else of the tenant
//	{{.spectro.system.NAME}}     what the hub knows of the cluster
//	{{.spectro.pack.PACK.PATH}}  a value of another pack
//
// ResolveProfiles puts the values in. A value fills the scalar where its
// expression stands and nothing else: the text is read as YAML first. Expressions
// may call a few functions; they have no data, no loops and bounded results.
//
// The package does no I/O but reading its own embedded files. It fetches no
// chart or artifact, talks to no cluster, and never writes a resolved value back
// into a profile. Charts of layers of type helm and oci are not rendered:
// Settings names each such layer in a notice. What still holds an expression is
// refused when it is rendered.
package pack
