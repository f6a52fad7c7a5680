// SPDX-License-Identifier: Apache-2.0

package azuresim

import (
	"encoding/base64"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Compute's Retry-After on the PUT of a machine and on the first poll; none later (azure-operations, E.2).
const (
	vmFirstPoll  = 10 * time.Second
	vmSecondPoll = 35 * time.Second
)

func vmKind() *kind {
	return &kind{
		typ: typeVMName, latency: "compute.virtualmachines", etags: true, puts: "PutVM", hint: []time.Duration{vmFirstPoll, vmSecondPoll}, deletes: true,
		put: putVM, began: vmBegan, deleting: deleteVM, removed: removedVM,
		refs: func(r *resource) []ref {
			var out []ref
			for _, n := range items(r.body, "properties", "networkProfile", "networkInterfaces") {
				out = append(out, ref{r.id, str(n, "id")})
			}
			if to := str(r.body, "properties", "availabilitySet", "id"); to != "" {
				out = append(out, ref{r.id, to})
			}
			for _, d := range vmDisks(r.body) {
				if to := str(d, "managedDisk", "id"); to != "" {
					out = append(out, ref{r.id, to})
				}
			}
			return out
		},
		usage: func(s *Simulator, r *resource) map[string]int {
			size, known := s.catalog.size(str(r.body, "properties", "hardwareProfile", "vmSize"), r.location)
			if !known {
				return nil
			}
			return map[string]int{"cores": size.vcpus(), size.Family: size.vcpus(), "virtualMachines": 1}
		},
		view: func(_ *Simulator, r *resource, out object) {
			delete(child(out, "properties", "osProfile"), "customData") // Write-only (learn.microsoft.com, custom data).
			delete(child(out, "properties", "osProfile"), "adminPassword")
			delete(child(out, "properties"), "userData")
			props := ensure(out, "properties")
			props["vmId"], props["timeCreated"] = resourceGUID(r), r.created.Format(time.RFC3339Nano)
		},
		gets: map[string]func(*call, *resource) (*reply, *apiError){
			"instanceview": func(c *call, r *resource) (*reply, *apiError) { return ok(c.sim.instanceView(r)), nil },
		},
		posts: map[string]func(*call, *resource) (*reply, *apiError){
			"start": powerAction("start"), "deallocate": powerAction("deallocate"), "poweroff": powerAction("powerOff"),
			"restart": powerAction("restart"), "retrievebootdiagnosticsdata": bootDiagnostics,
		},
	}
}

// vmDisks are the OS disk and the data disks of a machine's body.
func vmDisks(body object) []object {
	out := items(body, "properties", "storageProfile", "dataDisks")
	if d := child(body, "properties", "storageProfile", "osDisk"); d != nil {
		out = append([]object{d}, out...)
	}
	return out
}

func putVM(c *call, r *resource, old object) *apiError {
	size, err := c.checkSize(r)
	if err != nil {
		return err
	}
	if len(texts(r.body, "zones")) > 0 && str(r.body, "properties", "availabilitySet", "id") != "" {
		return badRequest("BadRequest", "Virtual Machine cannot be created because both Availability Zone and Availability Set were specified.")
	}
	if err := c.checkZones(r, old); err != nil {
		return err
	}
	if err := c.checkOS(r, old); err != nil {
		return err
	}
	if err := c.checkStorage(r, old, size); err != nil {
		return err
	}
	if err := c.checkNICs(r, size); err != nil {
		return err
	}
	if to := str(r.body, "properties", "availabilitySet", "id"); to != "" {
		if _, err := c.refer(r.id, to, typeSet, ""); err != nil {
			return err
		}
	}
	return c.checkIdentity(r)
}

// checkSize refuses sizes that are unknown, restricted or not sold in the zone. All of that is synchronous.
func (c *call) checkSize(r *resource) (vmSize, *apiError) {
	name := str(r.body, "properties", "hardwareProfile", "vmSize")
	size, known := c.sim.catalog.size(name, r.location)
	if !known {
		return size, invalidParameter("vmSize", "The value %s provided for the VM size is not valid. The valid sizes in the current region are: %s.",
			name, strings.Join(c.sim.catalog.names(r.location), ","))
	}
	zone := firstOf(texts(r.body, "zones"))
	reg, _ := c.sim.catalog.region(r.location)
	if len(texts(r.body, "zones")) > 1 {
		return size, invalidParameter("zones", "A virtual machine can be in one availability zone only.")
	}
	notInZone := zone != "" && slices.Contains(reg.Zones, zone) && !slices.Contains(size.zones(reg), zone)
	if size.restricted(r.location, zone) || notInZone {
		e := conflict("SkuNotAvailable", "The requested VM size for resource 'Following SKUs have failed for Capacity Restrictions: %s' is currently not "+
			"available in location '%s'. Please try another size or deploy to a different location or different zone. See "+
			"https://aka.ms/azureskunotavailable for details.", size.Name, r.location)
		return size, e
	}
	return size, nil
}

func (c *catalog) names(location string) []string {
	var out []string
	for _, v := range c.sizes {
		if !slices.Contains(v.Absent, location) {
			out = append(out, v.Name)
		}
	}
	return out
}

func firstOf(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return list[0]
}

var computerNamePattern = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]{0,62}[A-Za-z0-9])?$`)

func (c *call) checkOS(r *resource, old object) *apiError {
	profile := child(r.body, "properties", "osProfile")
	if old != nil {
		return c.keepOS(r, old)
	}
	if profile == nil {
		if str(r.body, "properties", "storageProfile", "osDisk", "createOption") == "Attach" {
			return nil
		}
		return invalidParameter("osProfile", "Required parameter 'osProfile' is missing (null).")
	}
	if !computerNamePattern.MatchString(str(profile, "computerName")) {
		return invalidParameter("computerName", "Linux host name cannot exceed 64 characters in length or contain the following characters: "+
			"` ~ ! @ # $ %% ^ & * ( ) = + _ [ ] { } \\\\ | ; : ' \\\" , < > / ?.")
	}
	user := str(profile, "adminUsername")
	if user == "" {
		return invalidParameter("adminUsername", "Required parameter 'adminUsername' is missing (null).")
	}
	if slices.Contains([]string{"root", "admin", "administrator", "user", "test"}, strings.ToLower(user)) {
		return invalidParameter("adminUsername", "The Admin Username specified is not allowed.")
	}
	keys := items(profile, "linuxConfiguration", "ssh", "publicKeys")
	if len(keys) == 0 && str(profile, "adminPassword") == "" {
		return invalidParameter("linuxConfiguration.ssh.publicKeys", "Authentication using either SSH or by user name and password must be enabled in Linux profile.")
	}
	for _, k := range keys {
		if !strings.HasPrefix(str(k, "keyData"), "ssh-") && !strings.HasPrefix(str(k, "keyData"), "ecdsa-") {
			return invalidParameter("linuxConfiguration.ssh.publicKeys.keyData", "The value of parameter linuxConfiguration.ssh.publicKeys.keyData is invalid.")
		}
		if want := "/home/" + user + "/.ssh/authorized_keys"; str(k, "path") != want {
			return invalidParameter("linuxConfiguration.ssh.publicKeys.path", "Destination path for SSH public keys is currently limited to its default value "+
				"%s  due to a known issue in Linux provisioning agent.", want)
		}
	}
	_, err := customData(r.body)
	return err
}

// mostCustomData is the limit of the decoded custom data (learn.microsoft.com, custom data and cloud-init).
const mostCustomData = 65535

func customData(body object) ([]byte, *apiError) {
	raw, err := base64.StdEncoding.DecodeString(str(body, "properties", "osProfile", "customData"))
	if err != nil || len(raw) > mostCustomData {
		return nil, invalidParameter("customData", "Custom data in OSProfile must be in Base64 encoding and with a maximum length of 87380 characters.")
	}
	return raw, nil
}

// keepOS refuses to change what only a create can set, and keeps what a read does not show.
func (c *call) keepOS(r *resource, old object) *apiError {
	was := child(old, "properties", "osProfile")
	now := child(r.body, "properties", "osProfile")
	if now == nil {
		if was != nil {
			ensure(r.body, "properties")["osProfile"] = cloneObject(was)
		}
		return nil
	}
	for _, k := range []string{"customData", "adminPassword"} {
		if sent := str(now, k); sent != "" && sent != str(was, k) {
			return c.immovable("osProfile." + k)
		}
		if v := str(was, k); v != "" {
			now[k] = v
		}
	}
	for _, k := range []string{"computerName", "adminUsername"} {
		if str(now, k) != str(was, k) {
			return c.immovable("osProfile." + k)
		}
	}
	return nil
}

func (c *call) immovable(property string) *apiError {
	e := conflict("PropertyChangeNotAllowed", "Changing property '%s' is not allowed.", property)
	e.target = property
	return e
}

func imageName(body object) string {
	ref := child(body, "properties", "storageProfile", "imageReference")
	for _, k := range []string{"id", "communityGalleryImageId", "sharedGalleryImageId"} {
		if v := str(ref, k); v != "" {
			return v
		}
	}
	if str(ref, "publisher") == "" {
		return ""
	}
	return strings.Join([]string{str(ref, "publisher"), str(ref, "offer"), str(ref, "sku"), str(ref, "version")}, ":")
}

func (c *call) checkStorage(r *resource, old object, size vmSize) *apiError {
	p := ensure(r.body, "properties", "storageProfile")
	image := imageName(r.body)
	osDisk := ensure(p, "osDisk")
	if old == nil {
		if image == "" && str(osDisk, "createOption") != "Attach" {
			return invalidParameter("imageReference", "Required parameter 'imageReference' is missing (null).")
		}
		if err := fits(image, size); err != nil {
			return err
		}
	} else if was := imageName(old); image != was {
		return c.immovable("imageReference")
	}
	if str(osDisk, "name") == "" {
		osDisk["name"] = str(old, "properties", "storageProfile", "osDisk", "name")
		if osDisk["name"] == "" {
			osDisk["name"] = r.target.name() + "_OsDisk_1_" + strings.ReplaceAll(c.sim.guid(), "-", "")
		}
	}
	if str(osDisk, "osType") == "" {
		osDisk["osType"] = "Linux"
	}
	disks := items(p, "dataDisks")
	if len(disks) > size.dataDisks() {
		return conflict("OperationNotAllowed", "The maximum number of data disks allowed to be attached to a VM of this size is %d.", size.dataDisks())
	}
	luns := map[int]bool{}
	for _, d := range disks {
		lun, set := number(d, "lun")
		if !set || luns[lun] || lun < 0 || lun >= max(size.dataDisks(), 64) {
			return invalidParameter("dataDisk.lun", "A disk with LUN %d is already in use or the LUN is missing or out of range.", lun)
		}
		luns[lun] = true
		if str(d, "name") == "" {
			d["name"] = r.target.name() + "_lun_" + at1(d, "lun") + "_2_" + strings.ReplaceAll(c.sim.guid(), "-", "")
		}
	}
	for _, d := range vmDisks(r.body) {
		if err := c.checkDisk(r, d, size); err != nil {
			return err
		}
	}
	return nil
}

// fits compares an image with a size. What an image is, its name has to tell: marketplace SKUs say arm64 and gen1.
func fits(image string, size vmSize) *apiError {
	name := strings.ToLower(image)
	arch := size.capability("CpuArchitectureType")
	want := "x64"
	if strings.Contains(name, "arm64") {
		want = "Arm64"
	}
	if !strings.EqualFold(arch, want) && (want == "Arm64" || strings.Count(name, ":") == 3) {
		return badRequest("BadRequest", "Cannot create a VM of size '%s' because this VM size only supports a CPU Architecture of '%s', but an image or disk "+
			"with CPU Architecture '%s' was given. Please check that the CPU Architecture of the image or disk is compatible with that of the VM size.",
			size.Name, arch, want)
	}
	generations := size.capability("HyperVGenerations")
	for gen, hint := range map[string]string{"1": "gen1", "2": "gen2"} {
		if strings.Contains(name, hint) && !strings.Contains(generations, "V"+gen) {
			return badRequest("BadRequest", "The selected VM size '%s' cannot boot Hypervisor Generation '%s'. If this was a Create operation please check that "+
				"the Hypervisor Generation of the Image matches the Hypervisor Generation of the selected VM Size.", size.Name, gen)
		}
	}
	return nil
}

func (c *call) checkDisk(r *resource, d object, size vmSize) *apiError {
	sku := str(d, "managedDisk", "storageAccountType")
	if sku != "" && !slices.Contains(diskSKUs(), sku) {
		return invalidParameter("managedDisk.storageAccountType", "The value '%s' of parameter 'storageAccountType' is invalid.", sku)
	}
	if strings.HasPrefix(sku, "Premium") && !size.has("PremiumIO") {
		return invalidParameter("storageAccountType", "Requested operation cannot be performed because the VM size %s does not support the storage account type "+
			"%s of disk '%s'. Consider updating the VM to a size that supports Premium storage.", size.Name, sku, str(d, "name"))
	}
	option := str(d, "createOption")
	if !slices.Contains([]string{"Empty", "FromImage", "Attach", "Copy"}, option) {
		return invalidParameter("createOption", "Required parameter 'createOption' is missing (null) or invalid.")
	}
	id := str(d, "managedDisk", "id")
	if option == "Attach" {
		disk, err := c.refer(r.id, id, typeDisk, typeDisk+"/write")
		if err != nil {
			return err
		}
		if disk.managedBy != "" && keyOf(disk.managedBy) != r.key() {
			return conflict("AttachDiskWhileBeingDetached", "Disk '%s' is attached to VM '%s' and cannot be attached to another.", id, disk.managedBy)
		}
		return nil
	}
	if other := c.sim.store.get(r.target.groupID() + "/providers/" + typeDisk + "/" + str(d, "name")); other != nil && keyOf(other.managedBy) != r.key() {
		return conflict("ConflictingUserInput", "Disk %s already exists in resource group %s. Only CreateOption.Attach is supported.", str(d, "name"), strings.ToUpper(r.target.group))
	}
	return nil
}

func (c *call) checkNICs(r *resource, size vmSize) *apiError {
	if len(items(r.body, "properties", "networkProfile", "networkInterfaceConfigurations")) > 0 {
		return badRequest("NotSupported", "The simulator does not make network interfaces from networkInterfaceConfigurations.")
	}
	nics := items(r.body, "properties", "networkProfile", "networkInterfaces")
	if len(nics) == 0 {
		return invalidParameter("networkProfile", "Virtual machine %s must have at least one network interface.", r.target.name())
	}
	if most := parseInt(size.capability("MaxNetworkInterfaces")); len(nics) > most {
		return badRequest("NicCountExceeded", "The number of network interfaces for virtual machine %s exceeds the maximum allowed for the virtual machine size %s. "+
			"The number of network interfaces is %d and the maximum allowed is %d.", r.target.name(), size.Name, len(nics), most)
	}
	for _, n := range nics {
		nic, err := c.refer(r.id, str(n, "id"), typeNIC, typeNIC+"/join/action")
		if err != nil {
			return err
		}
		if user := c.sim.machineOf(nic); user != "" && keyOf(user) != r.key() {
			return badRequest("NicInUse", "Network Interface %s is used by existing resource %s. In order to delete the network interface, it must be "+
				"dissociated from the resource. To learn more, see aka.ms/deletenic.", nic.id, user)
		}
		if err := c.nicReserved(nic, r.id); err != nil {
			return err
		}
		if nic.location != r.location {
			return badRequest("InvalidResourceReference", "Resource %s referenced by resource %s was not found. Please make sure that the referenced "+
				"resource exists, and that both resources are in the same region.", nic.id, r.id)
		}
		if flag(nic.body, "properties", "enableAcceleratedNetworking") && !size.has("AcceleratedNetworkingEnabled") {
			return badRequest("VMSizeIsNotPermittedToEnableAcceleratedNetworking", "VM %s with size %s is not permitted to enable AcceleratedNetworking on NIC %s.",
				r.target.name(), size.Name, nic.id)
		}
	}
	return nil
}

func (c *call) checkIdentity(r *resource) *apiError {
	id := child(r.body, "identity")
	if id == nil {
		return nil
	}
	kinds := strings.Split(strings.ReplaceAll(str(id, "type"), " ", ""), ",")
	if slices.Contains(kinds, "SystemAssigned") {
		id["principalId"], id["tenantId"] = resourceGUID(r), c.principal.TenantID
		c.sim.world.objects[strings.ToLower(resourceGUID(r))] = "ServicePrincipal"
	}
	for _, name := range sortedKeys(child(id, "userAssignedIdentities")) {
		other, err := c.refer(r.id, name, typeIdentity, typeIdentity+"/assign/action")
		if err != nil {
			e := badRequest("FailedIdentityOperation", "Identity operation for resource '%s' failed with error: the identity '%s' was not found.", r.id, name)
			if err.status == 403 {
				return err
			}
			return e
		}
		ensure(id, "userAssignedIdentities")[name] = object{
			"principalId": str(other.body, "properties", "principalId"), "clientId": str(other.body, "properties", "clientId"),
		}
	}
	return nil
}
