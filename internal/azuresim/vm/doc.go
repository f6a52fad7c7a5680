// SPDX-License-Identifier: Apache-2.0

// Package vm runs the virtual machines of a simulator as machines of systemd-nspawn: a real init, cloud-init, sshd and
// whatever the user data makes of them, on exactly the bytes that were sent to Azure Resource Manager. It implements
// azuresim.Machines at the level "vm". It refuses to know what the user data is for: everything Kubernetes in a guest
// comes from its image or through the network.
//
// # A machine
//
//	overlay of the image's layers      root file system, kept until Forget
//	/var/lib/containerd, ...           folders of the host (an overlay cannot lie on an overlay)
//	data disks                         sparse files behind loop devices, found by LUN
//	network namespace                  made by package vnet, eth0 asks DHCP
//	cgroup PREFIX-N                    in each hierarchy, the guest's root
//
// Process 1 of a PID namespace of its own runs launch.sh, which enters the cgroups, mounts the root in a private mount
// namespace and becomes systemd-nspawn. When it is killed the kernel ends everything in the guest, the mounts go with
// the namespace, and the loop devices with their last user. It is killed when the simulator dies. So a simulator that
// was killed leaves behind only folders, empty cgroups and network namespaces; the next one sweeps them.
//
// # What is not as in Azure
//
// The kernel is the host's: its version, its memory and its processors are what a guest sees, sizes are not enforced.
// Clocks that count from the boot begin at zero where the kernel has time namespaces.
// The OS disk has no size. Of the two versions of cgroups, only 1 was tried.
package vm
