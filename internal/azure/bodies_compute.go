// SPDX-License-Identifier: Apache-2.0

package azure

import (
	"encoding/base64"

	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/compute/armcompute/v8"

	"github.com/lazuli-dev/lazuli/internal/azure/resource"
)

const (
	// alignedSKU is what an availability set of VMs with managed disks needs.
	alignedSKU = "Aligned"
	// updateDomains is Azure's default.
	updateDomains = 5
)

func availabilitySetBody(s resource.AvailabilitySet) armcompute.AvailabilitySet {
	return armcompute.AvailabilitySet{
		Location: new(s.Location), Tags: tags(s.Tags),
		SKU: &armcompute.SKU{Name: new(alignedSKU)},
		Properties: &armcompute.AvailabilitySetProperties{
			PlatformFaultDomainCount:  ptr32(s.FaultDomains),
			PlatformUpdateDomainCount: ptr32(updateDomains),
		},
	}
}

// virtualMachineBody makes a VM that takes its disks and its interface with it
// when it goes. The image's own SKU decides the generation of the VM.
func virtualMachineBody(s resource.VirtualMachine) armcompute.VirtualMachine {
	p := &armcompute.VirtualMachineProperties{
		HardwareProfile: &armcompute.HardwareProfile{VMSize: new(armcompute.VirtualMachineSizeTypes(s.Size))},
		StorageProfile: &armcompute.StorageProfile{
			ImageReference: imageBody(s.Image),
			OSDisk:         osDiskBody(s.OSDisk),
			DataDisks:      dataDiskBodies(s.DataDisks),
		},
		OSProfile: osProfileBody(s),
		NetworkProfile: &armcompute.NetworkProfile{
			NetworkInterfaces: []*armcompute.NetworkInterfaceReference{{
				ID: new(s.NICID),
				Properties: &armcompute.NetworkInterfaceReferenceProperties{
					Primary: new(true), DeleteOption: new(armcompute.DeleteOptionsDelete),
				},
			}},
		},
		// Without a storage account the boot log is kept in one that Azure manages.
		DiagnosticsProfile: &armcompute.DiagnosticsProfile{
			BootDiagnostics: &armcompute.BootDiagnostics{Enabled: new(true)},
		},
	}
	if s.AvailabilitySetID != "" {
		p.AvailabilitySet = &armcompute.SubResource{ID: new(s.AvailabilitySetID)}
	}
	vm := armcompute.VirtualMachine{Location: new(s.Location), Tags: tags(s.Tags), Properties: p}
	if s.Zone != "" {
		vm.Zones = ptrs([]string{s.Zone})
	}
	return vm
}

func imageBody(i resource.Image) *armcompute.ImageReference {
	switch {
	case i.GalleryID != "":
		return &armcompute.ImageReference{ID: new(i.GalleryID)}
	case i.CommunityGalleryID != "":
		return &armcompute.ImageReference{CommunityGalleryImageID: new(i.CommunityGalleryID)}
	}
	return &armcompute.ImageReference{
		Publisher: new(i.Publisher), Offer: new(i.Offer), SKU: new(i.SKU), Version: new(i.Version),
	}
}

func osDiskBody(d resource.Disk) *armcompute.OSDisk {
	out := &armcompute.OSDisk{
		Name:         new(d.Name),
		OSType:       new(armcompute.OperatingSystemTypesLinux),
		CreateOption: new(armcompute.DiskCreateOptionTypesFromImage),
		Caching:      caching(d.Caching, armcompute.CachingTypesReadWrite),
		DeleteOption: new(armcompute.DiskDeleteOptionTypesDelete),
		ManagedDisk:  managedDisk(d.Type),
	}
	if d.SizeGB > 0 { // otherwise the image's own size
		out.DiskSizeGB = ptr32(d.SizeGB)
	}
	return out
}

func dataDiskBodies(disks []resource.Disk) []*armcompute.DataDisk {
	out := make([]*armcompute.DataDisk, 0, len(disks))
	for _, d := range disks {
		out = append(out, &armcompute.DataDisk{
			Name:         new(d.Name),
			Lun:          ptr32(d.LUN),
			CreateOption: new(armcompute.DiskCreateOptionTypesEmpty),
			Caching:      caching(d.Caching, armcompute.CachingTypesNone),
			DeleteOption: new(armcompute.DiskDeleteOptionTypesDelete),
			DiskSizeGB:   ptr32(d.SizeGB),
			ManagedDisk:  managedDisk(d.Type),
		})
	}
	return out
}

func managedDisk(storageType string) *armcompute.ManagedDiskParameters {
	if storageType == "" {
		return nil
	}
	return &armcompute.ManagedDiskParameters{StorageAccountType: new(armcompute.StorageAccountTypes(storageType))}
}

func caching(wanted string, otherwise armcompute.CachingTypes) *armcompute.CachingTypes {
	if wanted == "" {
		return new(otherwise)
	}
	return new(armcompute.CachingTypes(wanted))
}

func osProfileBody(s resource.VirtualMachine) *armcompute.OSProfile {
	out := &armcompute.OSProfile{
		ComputerName:  new(s.ComputerName),
		AdminUsername: new(s.AdminUser),
		LinuxConfiguration: &armcompute.LinuxConfiguration{
			DisablePasswordAuthentication: new(true),
			SSH: &armcompute.SSHConfiguration{PublicKeys: []*armcompute.SSHPublicKey{{
				Path: new("/home/" + s.AdminUser + "/.ssh/authorized_keys"), KeyData: new(s.SSHKey),
			}}},
		},
	}
	if len(s.UserData) > 0 {
		out.CustomData = new(base64.StdEncoding.EncodeToString(s.UserData))
	}
	return out
}
