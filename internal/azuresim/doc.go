// SPDX-License-Identifier: Apache-2.0

// Package azuresim simulates Entra ID and Azure Resource Manager at the wire.
package azuresim
