// SPDX-License-Identifier: Apache-2.0

package tape

// Gaps are the operations that the hub does not do yet as the recorded client
// needs them, with the reason. The tests that play the recordings print them,
// and fail when one is none any more: then its row goes.
func Gaps() map[string]string {
	return map[string]string{}
}
