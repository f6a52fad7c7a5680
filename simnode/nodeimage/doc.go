// SPDX-License-Identifier: Apache-2.0

// Package nodeimage builds what the simulator's levels "process" and "vm" start machines from: the Kubernetes binary, the
// root file systems, the image store and the mirror that a stock image installs from.
//
// The artefact is a directory whose name is a hash of everything that went into it:
//
//	current -> <key>
//	<key>/artefact.json   which directories make which image
//	<key>/bin/kube        every Kubernetes program, beside links with their names
//	<key>/stock/          Debian as a machine boots it, nothing of Kubernetes
//	<key>/gallery/        laid over stock: Kubernetes, installed from the mirror
//	<key>/containerd/     /var/lib/containerd of a gallery machine, images imported
//	<key>/mirror/         packages, archives and images, as HTTP serves them
//	<key>/packs/          the pack of the pod network
//	parts/                what keys share: Debian, the binaries
//
// A key appears whole or not at all: it is built under another name and renamed. What was built before an interruption and is
// a part is found again.
package nodeimage
