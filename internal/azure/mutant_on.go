// SPDX-License-Identifier: Apache-2.0

//go:build mutant

package azure

import "os"

func mutated(defect string) bool { return os.Getenv("LAZULI_MUTANT") == defect }
