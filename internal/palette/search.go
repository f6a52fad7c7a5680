// SPDX-License-Identifier: Apache-2.0

package palette

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/lazuli-dev/lazuli"
)

// SearchFilterSummarySpec searches clusters.
type SearchFilterSummarySpec struct {
	Filter *SearchFilter `json:"filter"`
	Sort   []SearchSort  `json:"sort"`
}

// Conjunctions of a search; absent is ConjunctionAnd.
const (
	ConjunctionAnd = "and"
	ConjunctionOr  = "or"
)

// SearchFilter is groups of conditions.
type SearchFilter struct {
	Conjunction  string              `json:"conjunction,omitempty"`
	FilterGroups []SearchFilterGroup `json:"filterGroups"`
}

// SearchFilterGroup is conditions.
type SearchFilterGroup struct {
	Conjunction string             `json:"conjunction,omitempty"`
	Filters     []SearchFilterItem `json:"filters"`
}

// SearchFilterItem is one condition on a property.
type SearchFilterItem struct {
	Condition *SearchCondition `json:"condition"`
	Property  string           `json:"property"`
	Type      string           `json:"type"`
}

// SearchCondition has one member that is not null. A false boolean is left out
// by clients, so an empty Bool means false.
type SearchCondition struct {
	Bool     *SearchBool     `json:"bool,omitempty"`
	Date     *SearchDate     `json:"date,omitempty"`
	String   *SearchString   `json:"string,omitempty"`
	KeyValue *SearchKeyValue `json:"keyValue,omitempty"`
}

// SearchBool compares with a boolean.
type SearchBool struct {
	Value bool `json:"value,omitempty"`
}

// OperatorRange and the operators below compare times; OperatorEq does too.
// Range takes two values and holds for both and what is between.
const (
	OperatorGreater      = "gt"
	OperatorGreaterEqual = "gte"
	OperatorLess         = "lt"
	OperatorLessEqual    = "lte"
	OperatorRange        = "range"
)

// SearchDate compares a time.
type SearchDate struct {
	Match    *SearchDateMatch `json:"match,omitempty"`
	Negation bool             `json:"negation,omitempty"`
	Operator string           `json:"operator,omitempty"`
}

// SearchDateMatch is times of which any, or all, must match.
type SearchDateMatch struct {
	Conjunction string `json:"conjunction,omitempty"`
	Values      []Time `json:"values"`
}

// SearchKeyValue compares a tag.
type SearchKeyValue struct {
	IgnoreCase *bool        `json:"ignoreCase,omitempty"`
	Key        string       `json:"key"`
	Match      *SearchMatch `json:"match,omitempty"`
	Negation   bool         `json:"negation,omitempty"`
	Operator   string       `json:"operator,omitempty"`
}

// Operators of SearchString.
const (
	OperatorEq         = "eq"
	OperatorContains   = "contains"
	OperatorBeginsWith = "beginsWith"
)

// SearchString compares a text; IgnoreCase absent is true.
type SearchString struct {
	IgnoreCase *bool        `json:"ignoreCase,omitempty"`
	Match      *SearchMatch `json:"match,omitempty"`
	Negation   bool         `json:"negation,omitempty"`
	Operator   string       `json:"operator,omitempty"`
}

// SearchMatch is values of which any, or all, must match.
type SearchMatch struct {
	Conjunction string   `json:"conjunction,omitempty"`
	Values      []string `json:"values"`
}

// SearchSort orders the results: by environment, clusterName, clusterState,
// healthState, creationTimestamp or lastModifiedTimestamp.
type SearchSort struct {
	Field string `json:"field"`
	Order string `json:"order"` // asc, desc
}

// SearchSchema says what can be searched by.
type SearchSchema struct {
	Schema SearchProperties `json:"schema"`
}

// SearchProperties is a list of properties.
type SearchProperties struct {
	Properties []SearchProperty `json:"properties"`
}

// SearchProperty is what a SearchFilterItem may name.
type SearchProperty struct {
	Name         string   `json:"name"`
	DisplayName  string   `json:"displayName"`
	Type         string   `json:"type"` // the member of SearchCondition to use
	Enum         []string `json:"enum,omitempty"`
	IsDeprecated bool     `json:"isDeprecated"`
}

// SummaryVersion is that of what SummaryHead makes; it is raised with every
// change of it, so that stored heads are made anew.
const SummaryVersion = 2

// headBreak is where a head takes the project: no JSON without blanks has it.
const headBreak = '\n'

// SummaryHead renders a cluster for a list but for the project, whose name may
// change when the cluster does not. SummaryOf puts it in.
func SummaryHead(c *lazuli.Cluster) ([]byte, error) {
	item, err := Summary(c, nil)
	if err != nil {
		return nil, err
	}
	var parts [3][]byte
	for i, part := range []any{item.Metadata, item.SpecSummary, item.Status} {
		if parts[i], err = json.Marshal(part); err != nil {
			return nil, fmt.Errorf("render cluster %s: %w", c.UID, err)
		}
	}
	spec := bytes.TrimSuffix(parts[1], []byte("}"))
	out := make([]byte, 0, len(parts[0])+len(spec)+len(parts[2])+64)
	out = append(append(out, `{"metadata":`...), parts[0]...)
	out = append(append(out, `,"specSummary":`...), spec...)
	out = append(out, headBreak)
	out = append(append(out, `},"status":`...), parts[2]...)
	return append(out, '}'), nil
}

// SummaryOf appends to dst the JSON of a cluster in a list; project may be nil.
func SummaryOf(dst, head []byte, project *lazuli.Project) ([]byte, error) {
	before, behind, ok := bytes.Cut(head, []byte{headBreak})
	if !ok {
		return dst, errors.New("render a cluster: its head is none")
	}
	dst = append(dst, before...)
	if project != nil {
		meta, err := json.Marshal(ObjectEntity{Name: project.Name, UID: project.UID})
		if err != nil {
			return dst, fmt.Errorf("render project %s: %w", project.UID, err)
		}
		dst = append(append(dst, `,"projectMeta":`...), meta...)
	}
	return append(dst, behind...), nil
}
