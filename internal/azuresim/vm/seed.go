// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/lazuli-dev/lazuli/internal/azuresim"
)

const (
	dvd      = "/var/lib/cloud/seed/azure/ovf-env.xml"
	instance = "/var/lib/cloud/instance" // cloud-init's link to what it keeps of a machine
)

// seed writes what the hypervisor tells the guest into its root file system. The provisioning DVD is in its drive until
// the guest reports ready, and no more once it has made an instance of it; Azure ejects it, too.
func (m *machine) seed() error {
	files := map[string]string{"/etc/simnode/vmid": m.VMID + "\n", "/etc/simnode/disks": diskTable(m.loops)}
	upper := filepath.Join(m.disk.dir, "upper")
	if _, err := os.Lstat(filepath.Join(upper, instance)); err != nil {
		files[dvd] = ovfEnvironment(m.Machine)
	} else if err := os.RemoveAll(filepath.Join(upper, dvd)); err != nil {
		return err
	}
	for path, text := range files {
		if err := writeInto(upper, path, text); err != nil {
			return err
		}
	}
	return nil
}

// eject takes the provisioning DVD out of a running guest: there are secrets on it. The file is removed through the guest's
// own mount, since its overlay must not change behind its back.
func (m *machine) eject() {
	if m.guest == nil {
		return // The next boot has none.
	}
	root, err := os.OpenRoot(filepath.Join("/proc", strconv.Itoa(m.guest.process.Pid), "root", m.disk.dir, "root"))
	if err == nil {
		err = errors.Join(root.Remove(strings.TrimPrefix(dvd, "/")), root.Close())
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // The guest may have ended.
		m.owner.log.Warn("eject the provisioning DVD", "machine", m.Name, "error", err)
	}
}

// diskTable has a line for each data disk: its LUN and its device.
func diskTable(loops []*loop) string {
	var b strings.Builder
	for _, l := range loops {
		fmt.Fprintf(&b, "%d %s\n", l.lun, l.device)
	}
	return b.String()
}

// writeInto writes a file for root's eyes. Folders on the way get the mode that they have in every image, whatever our
// umask: a layer's folder hides the mode of the one below.
func writeInto(root, path, text string) error {
	at := root
	parts := strings.Split(strings.Trim(path, "/"), "/")
	for _, part := range parts[:len(parts)-1] {
		at = filepath.Join(at, part)
		err := os.Mkdir(at, 0o755) //nolint:gosec // as in the image
		if err != nil && !os.IsExist(err) {
			return err
		}
		if err == nil {
			if err := os.Chmod(at, 0o755); err != nil { //nolint:gosec // as in the image
				return err
			}
		}
	}
	return os.WriteFile(filepath.Join(at, parts[len(parts)-1]), []byte(text), 0o600)
}

// ovfEnvironment is the document on the provisioning DVD (learn.microsoft.com, "Provisioning agent requirements").
func ovfEnvironment(m azuresim.Machine) string {
	escape := func(s string) string {
		var b strings.Builder
		_ = xml.EscapeText(&b, []byte(s)) // A builder takes everything.
		return b.String()
	}
	var keys strings.Builder
	for _, k := range m.SSHKeys {
		fmt.Fprintf(&keys, "<PublicKey><Path>/home/%s/.ssh/authorized_keys</Path><Value>%s</Value></PublicKey>", escape(m.AdminUser), escape(k))
	}
	custom := ""
	if len(m.CustomData) > 0 {
		custom = "<CustomData>" + base64.StdEncoding.EncodeToString(m.CustomData) + "</CustomData>"
	}
	return strings.NewReplacer("HOST", escape(hostName(m)), "USER", escape(m.AdminUser), "KEYS", keys.String(), "CUSTOM", custom).Replace(
		`<?xml version="1.0" encoding="utf-8"?>
<ovf:Environment xmlns:ovf="http://schemas.dmtf.org/ovf/environment/1" xmlns="http://schemas.microsoft.com/windowsazure" xmlns:wa="http://schemas.microsoft.com/windowsazure">
<wa:ProvisioningSection><wa:Version>1.0</wa:Version><LinuxProvisioningConfigurationSet>
<ConfigurationSetType>LinuxProvisioningConfiguration</ConfigurationSetType>
<HostName>HOST</HostName><UserName>USER</UserName><DisableSshPasswordAuthentication>true</DisableSshPasswordAuthentication>
<SSH><PublicKeys>KEYS</PublicKeys></SSH>CUSTOM
</LinuxProvisioningConfigurationSet></wa:ProvisioningSection>
<wa:PlatformSettingsSection><wa:Version>1.0</wa:Version><PlatformSettings><ProvisionGuestAgent>false</ProvisionGuestAgent></PlatformSettings></wa:PlatformSettingsSection>
</ovf:Environment>
`)
}

func hostName(m azuresim.Machine) string {
	if m.ComputerName != "" {
		return m.ComputerName
	}
	return m.Name
}
