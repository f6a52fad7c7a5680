// SPDX-License-Identifier: Apache-2.0

// Command runc puts itself before the original runc where the machine lacks CAP_SYS_RESOURCE: there nobody may lower an OOM
// score, runc dies of the attempt, and containerd is configured as on a real machine, where the attempt is right.
package main

import (
	"fmt"
	"os"
	"syscall"

	"github.com/lazuli-dev/lazuli/simnode/oom"
)

// original is where the root file system of the simulated machines has it.
const original = "/usr/lib/simnode/runc"

func main() {
	if file := oom.ConfigFile(os.Args[1:]); file != "" {
		// What is wrong with the file, runc will say better.
		if err := oom.Clamp(file, "/proc/self/oom_score_adj"); err != nil {
			fmt.Fprintln(os.Stderr, "runc: OOM score not clamped:", err)
		}
	}
	path := original
	if p := os.Getenv("SIMNODE_RUNC"); p != "" {
		path = p
	}
	if err := syscall.Exec(path, os.Args, os.Environ()); err != nil {
		fmt.Fprintf(os.Stderr, "run %s: %v\n", path, err)
		os.Exit(1)
	}
}
