// SPDX-License-Identifier: Apache-2.0

// Package oom keeps the OOM score of a container from falling below its maker's own, which takes a capability.
package oom

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// ConfigFile is the config.json of the bundle that runc, called with these arguments, makes a container of; "" for every other
// use of runc.
func ConfigFile(arguments []string) string {
	bundle, makes := ".", false
	for i, a := range arguments {
		switch {
		case a == "create" || a == "run":
			makes = true
		case makes && (a == "--bundle" || a == "-b") && i+1 < len(arguments):
			bundle = arguments[i+1]
		case makes && strings.HasPrefix(a, "--bundle="):
			bundle = strings.TrimPrefix(a, "--bundle=")
		}
	}
	if !makes {
		return ""
	}
	return filepath.Join(bundle, "config.json")
}

// Clamp raises process.oomScoreAdj in the file to the own score, which scoreFile holds. Everything else stays as it is; a file
// that needs no change is not written.
func Clamp(file, scoreFile string) error {
	text, err := os.ReadFile(scoreFile)
	if err != nil {
		return fmt.Errorf("read the own score: %w", err)
	}
	own, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return fmt.Errorf("read the own score: %w", err)
	}
	config, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("read the bundle: %w", err)
	}
	clamped, err := clamp(config, own)
	if err != nil || clamped == nil {
		return err
	}
	info, err := os.Stat(file)
	if err != nil {
		return fmt.Errorf("read the bundle: %w", err)
	}
	if err := os.WriteFile(file+".clamped", clamped, info.Mode().Perm()); err != nil {
		return fmt.Errorf("write the bundle: %w", err)
	}
	if err := os.Rename(file+".clamped", file); err != nil {
		return fmt.Errorf("write the bundle: %w", err)
	}
	return nil
}

// clamp returns nil where nothing has to change.
func clamp(config []byte, own int) ([]byte, error) {
	if !bytes.Contains(config, []byte(`"oomScoreAdj"`)) {
		return nil, nil
	}
	var whole, process map[string]json.RawMessage
	if err := json.Unmarshal(config, &whole); err != nil {
		return nil, fmt.Errorf("read the bundle: %w", err)
	}
	if err := json.Unmarshal(whole["process"], &process); err != nil {
		return nil, fmt.Errorf("read the bundle's process: %w", err)
	}
	score, err := strconv.Atoi(string(process["oomScoreAdj"]))
	if err != nil || score >= own {
		return nil, nil //nolint:nilerr // no number, no score
	}
	process["oomScoreAdj"] = json.RawMessage(strconv.Itoa(own))
	if whole["process"], err = json.Marshal(process); err != nil {
		return nil, fmt.Errorf("write the bundle's process: %w", err)
	}
	out, err := json.Marshal(whole)
	if err != nil {
		return nil, fmt.Errorf("write the bundle: %w", err)
	}
	return out, nil
}
