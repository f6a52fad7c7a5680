// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"strings"

	"github.com/lazuli-dev/lazuli/internal/server"
)

// variable is one line of an environment file.
type variable struct{ name, value string }

// renderEnv renders KEY=value lines that `set -a; . FILE` reads in any POSIX
// shell and that systemd and docker read too: only values that need no quotes
// are written, any other is an error.
func renderEnv(vars []variable) ([]byte, error) {
	var b strings.Builder
	for _, v := range vars {
		if strings.IndexFunc(v.value, notPlain) >= 0 {
			return nil, fmt.Errorf("write environment: the value of %s has characters that a shell reads in its own way", v.name)
		}
		fmt.Fprintf(&b, "%s=%s\n", v.name, v.value)
	}
	return []byte(b.String()), nil
}

func notPlain(r rune) bool {
	switch {
	case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
		return false
	default:
		return !strings.ContainsRune("_-./:@%+,=", r)
	}
}

// writeEnv writes an environment file for this user alone, whole or not at
// all, so that whoever waits for the file may read it at once.
func writeEnv(file string, vars []variable) error {
	b, err := renderEnv(vars)
	if err != nil {
		return err
	}
	return writePrivate(file, b)
}

func writePrivate(file string, b []byte) error {
	return server.WriteFile(file, b)
}
