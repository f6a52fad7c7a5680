// SPDX-License-Identifier: Apache-2.0

package palette

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
	String   *SearchString   `json:"string,omitempty"`
	KeyValue *SearchKeyValue `json:"keyValue,omitempty"`
}

// SearchBool compares with a boolean.
type SearchBool struct {
	Value bool `json:"value,omitempty"`
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
