// SPDX-License-Identifier: Apache-2.0

package tape

// Gaps are the operations that the hub does not do yet as the recorded client
// needs them, with the reason. The tests that play the recordings print them,
// and fail when one is none any more: then its row goes.
func Gaps() map[string]string {
	const later = "not served yet"
	return map[string]string{
		"V1HostClusterConfigUpdate":                      later,
		"v1ClusterFeatureBackupCreate":                   later,
		"v1ClusterFeatureBackupGet":                      "nothing can be configured yet",
		"v1ClusterFeatureComplianceScanCreate":           later,
		"v1ClusterFeatureComplianceScanGet":              "nothing can be configured yet",
		"v1SpectroClustersAzureCreate":                   "a network that exists already is refused",
		"v1SpectroClustersCertificatesRenew":             later,
		"v1SpectroClustersDeleteProfiles":                later,
		"v1SpectroClustersPatchProfiles":                 later,
		"v1SpectroClustersUidClusterMetaAttributeUpdate": later,
		"v1SpectroClustersUidConfigNamespacesUpdate":     later,
		"v1SpectroClustersUidConfigRbacsUpdate":          later,
		"v1SpectroClustersUidMetadataUpdate":             later,
		"v1SpectroClustersUidOsPatchUpdate":              later,
		"v1SpectroClustersUidTimezoneUpdate":             later,
		"v1SpectroClustersUidUpgradeSettings":            later,
		"v1SpectroClustersUidVariablesGet":               later,
	}
}
