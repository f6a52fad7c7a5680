// SPDX-License-Identifier: Apache-2.0

package model

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// Subcommands of kubeadm that make a node.
const (
	actionInit = "init"
	actionJoin = "join"
)

// kubeadmCall is a call of kubeadm that a machine's commands lead to.
type kubeadmCall struct {
	action     string
	configPath string
	config     string
	// loops: the script that calls it tries again.
	loops bool
}

var (
	assignment = regexp.MustCompile(`(?m)^[ \t]*(?:export[ \t]+|readonly[ \t]+|local[ \t]+)?([A-Za-z_][A-Za-z0-9_]*)=(?:"([^"\n]*)"|'([^'\n]*)'|([^\s;&|"'()]*))`)
	variable   = regexp.MustCompile(`\$(?:\{([A-Za-z_][A-Za-z0-9_]*)\}|([A-Za-z_][A-Za-z0-9_]*))`)
	comment    = regexp.MustCompile(`(?m)^[ \t]*#.*$`)
	// A call of kubeadm stands where the shell expects a command.
	kubeadmRun = regexp.MustCompile(`(?:^|[\n;&|({!=]|\b(?:until|while|if|then|do|else|sudo|exec|time|nohup|retry)\b|\btimeout[ \t]+(?:-\S+[ \t]+)*\S+)[ \t]*(?:[A-Z_]+=\S+[ \t]+)*(?:/\S*/)?kubeadm[ \t]+(?:-\S+[ \t]+)*(init|join)\b([^\n;|&]*)`)
	configFlag = regexp.MustCompile(`--config(?:=|[ \t]+)["']?([^\s"']+)`)
	loop       = regexp.MustCompile(`(?m)(?:^|[;&|({]|\bdo\b)[ \t]*(?:until|while|for)\b`)
	unitExec   = regexp.MustCompile(`(?m)^Exec(?:Start|StartPre|StartPost)=[-+!@:]*(.*)$`)
)

// findKubeadm follows runcmd through the scripts and units that write_files brought to the call of kubeadm.
func findKubeadm(u *userData) (*kubeadmCall, error) {
	texts, err := reachable(u)
	if err != nil {
		return nil, err
	}
	vars := map[string]string{}
	for _, text := range texts {
		collectVariables(text, vars)
	}
	var problem error
	for _, text := range texts {
		text = expand(comment.ReplaceAllString(strings.ReplaceAll(text, "\\\n", " "), ""), vars)
		for _, m := range kubeadmRun.FindAllStringSubmatch(text, -1) {
			flag := configFlag.FindStringSubmatch(m[2])
			switch {
			case strings.HasPrefix(strings.TrimSpace(m[2]), "phase"):
				continue
			case flag == nil:
				problem = fmt.Errorf("kubeadm %s without --config is not modelled", m[1])
				continue
			}
			file, ok := u.files[flag[1]]
			if !ok {
				problem = fmt.Errorf("unable to read config from %q: open %s: no such file or directory", flag[1], flag[1])
				continue
			}
			return &kubeadmCall{action: m[1], configPath: flag[1], config: file.content, loops: loop.MatchString(text)}, nil
		}
	}
	if problem == nil {
		problem = errors.New("no command runs kubeadm init or kubeadm join")
	}
	return nil, problem
}

// reachable returns the texts that run: the commands, and every file of write_files that a running text names.
func reachable(u *userData) ([]string, error) {
	texts := slices.Clone(u.commands)
	seen := map[string]bool{}
	vars := map[string]string{}
	paths := slices.Sorted(maps.Keys(u.files))
	for i := 0; i < len(texts); i++ {
		collectVariables(texts[i], vars)
		text := expand(comment.ReplaceAllString(texts[i], ""), vars)
		for _, path := range paths {
			if seen[path] || !names(text, path) {
				continue
			}
			file := u.files[path]
			if i < len(u.commands) && strings.HasPrefix(strings.TrimSpace(text), path) && !file.executable {
				return nil, fmt.Errorf("/var/lib/cloud/instance/scripts/runcmd: %s: Permission denied", path)
			}
			seen[path] = true
			texts = append(texts, runnable(path, file.content)...)
		}
	}
	return texts, nil
}

// names says whether a text mentions a file: by path, or by name for a systemd unit.
func names(text, path string) bool {
	if mentions(text, path) {
		return true
	}
	base := path[strings.LastIndexByte(path, '/')+1:]
	unit, isUnit := strings.CutSuffix(base, ".service")
	return isUnit && strings.Contains(text, "systemctl") && (mentions(text, base) || mentions(text, unit))
}

// mentions finds a word that is not part of a longer path.
func mentions(text, word string) bool {
	for rest := text; ; {
		i := strings.Index(rest, word)
		if i < 0 {
			return false
		}
		end := i + len(word)
		before := i == 0 || !isPathByte(rest[i-1])
		after := end == len(rest) || !isPathByte(rest[end])
		if before && after {
			return true
		}
		rest = rest[end:]
	}
}

func isPathByte(b byte) bool {
	return b == '/' || b == '-' || b == '_' || b == '.' ||
		b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9'
}

// runnable returns what of a file a shell would run: a script or sourced file whole, a unit's commands.
func runnable(path, content string) []string {
	switch {
	case strings.HasSuffix(path, ".service"):
		var out []string
		for _, m := range unitExec.FindAllStringSubmatch(content, -1) {
			out = append(out, m[1])
		}
		return out
	case strings.HasSuffix(path, ".yaml"), strings.HasSuffix(path, ".json"), strings.HasPrefix(content, "-----BEGIN"):
		return nil
	}
	return []string{content}
}

func collectVariables(text string, vars map[string]string) {
	for _, m := range assignment.FindAllStringSubmatch(text, -1) {
		if _, ok := vars[m[1]]; !ok {
			vars[m[1]] = expand(m[2]+m[3]+m[4], vars)
		}
	}
}

// expand replaces the variables whose values are known.
func expand(text string, vars map[string]string) string {
	return variable.ReplaceAllStringFunc(text, func(ref string) string {
		if value, ok := vars[strings.Trim(ref, "${}")]; ok {
			return value
		}
		return ref
	})
}
