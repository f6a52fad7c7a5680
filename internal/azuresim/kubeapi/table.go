// SPDX-License-Identifier: Apache-2.0

package kubeapi

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/duration"
	"k8s.io/client-go/util/jsonpath"
)

// column is one column of a Table. Those with wide show only with "-o wide".
type column struct {
	name string
	kind string
	wide bool
	cell func(u *unstructured.Unstructured, now time.Time) any
}

// printerColumn is an additionalPrinterColumn of a CustomResourceDefinition.
type printerColumn struct {
	name, kind, path string
	priority         int64
}

func printerColumns(version map[string]any) []printerColumn {
	items, _, err := unstructured.NestedSlice(version, "additionalPrinterColumns")
	if err != nil {
		return nil
	}
	var out []printerColumn
	for _, item := range items {
		m, ok := item.(map[string]any)
		if !ok {
			continue
		}
		c := &unstructured.Unstructured{Object: m}
		priority, _, perr := unstructured.NestedInt64(m, "priority")
		if perr != nil {
			priority = 0
		}
		out = append(out, printerColumn{
			name: nestedString(c, "name"), kind: nestedString(c, "type"), path: nestedString(c, "jsonPath"), priority: priority,
		})
	}
	return out
}

func text(name string, path ...string) column {
	return column{name: name, kind: "string", cell: func(u *unstructured.Unstructured, _ time.Time) any {
		return nestedString(u, path...)
	}}
}

func number(name string, path ...string) column {
	return column{name: name, kind: "integer", cell: func(u *unstructured.Unstructured, _ time.Time) any {
		return nestedInt(u, path...)
	}}
}

func nestedInt(u *unstructured.Unstructured, path ...string) int64 {
	n, _, err := unstructured.NestedInt64(u.Object, path...)
	if err != nil {
		return 0
	}
	return n
}

func onlyWide(cs ...column) []column {
	for i := range cs {
		cs[i].wide = true
	}
	return cs
}

func nameColumn() column { return text("Name", "metadata", "name") }

func ageColumn() column {
	return column{name: "Age", kind: "string", cell: func(u *unstructured.Unstructured, now time.Time) any {
		return age(u.GetCreationTimestamp().Time, now)
	}}
}

func age(t, now time.Time) string {
	if t.IsZero() {
		return "<unknown>"
	}
	return duration.HumanDuration(now.Sub(t))
}

// columnsOf returns the columns of a resource, name first.
func columnsOf(r *resource) []column {
	if cs := builtinColumns(r.GroupResource()); cs != nil {
		return append([]column{nameColumn()}, cs...)
	}
	out := []column{nameColumn()}
	for _, pc := range r.columns {
		out = append(out, pc.column())
	}
	if len(r.columns) == 0 {
		out = append(out, ageColumn())
	}
	return out
}

func (pc printerColumn) column() column {
	return column{name: pc.name, kind: pc.kind, wide: pc.priority > 0, cell: func(u *unstructured.Unstructured, now time.Time) any {
		jp := jsonpath.New(pc.name).AllowMissingKeys(true)
		if err := jp.Parse("{" + pc.path + "}"); err != nil {
			return nil
		}
		found, err := jp.FindResults(u.Object)
		if err != nil || len(found) == 0 || len(found[0]) == 0 {
			return nil
		}
		value := found[0][0].Interface()
		if stamp, ok := value.(string); ok && pc.kind == "date" {
			t, err := time.Parse(time.RFC3339, stamp)
			if err != nil {
				return "<invalid>"
			}
			return age(t, now)
		}
		return value
	}}
}

// tableOf renders objects as kubectl prints them.
func tableOf(r *resource, items []*unstructured.Unstructured, include string, now time.Time, meta metav1.ListMeta) *metav1.Table {
	t := &metav1.Table{
		TypeMeta: metav1.TypeMeta{Kind: "Table", APIVersion: "meta.k8s.io/v1"},
		ListMeta: meta,
		Rows:     []metav1.TableRow{},
	}
	columns := columnsOf(r)
	for _, c := range columns {
		d := metav1.TableColumnDefinition{Name: c.name, Type: c.kind}
		if c.name == "Name" {
			d.Format = "name"
		}
		if c.wide {
			d.Priority = 1
		}
		t.ColumnDefinitions = append(t.ColumnDefinitions, d)
	}
	for _, u := range items {
		row := metav1.TableRow{}
		for _, c := range columns {
			row.Cells = append(row.Cells, c.cell(u, now))
		}
		switch include {
		case "None":
		case "Object":
			row.Object = runtime.RawExtension{Object: asVersion(u, r)}
		default:
			row.Object = runtime.RawExtension{Object: &unstructured.Unstructured{Object: partial(u)}}
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}
