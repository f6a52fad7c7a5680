// SPDX-License-Identifier: Apache-2.0

package azure

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/resources/armresources/v3"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/azure/resource"
)

const (
	maxListed = 20_000 // rows of one list
	maxPages  = 500
	// providerStorage is the bucket of the logs' storage, which Azure keeps for the
	// subscription: not Resource Manager's, and it may ask for patience too.
	providerStorage = "storage"
	maxBootLog      = 16 << 20 // bytes that are read
	keptLog         = 1 << 20  // bytes that are returned at most
)

// pages walks a pager to its end, within bounds. A list that is cut short is an
// error: what is missing from it would look as if it did not exist.
func pages[T any](ctx context.Context, p *runtime.Pager[T], take func(T) int) error {
	rows := 0
	for n := 0; p.More(); n++ {
		page, err := p.NextPage(ctx)
		if err != nil {
			return err
		}
		rows += take(page)
		if n >= maxPages || rows > maxListed {
			return &lazuli.Error{
				Code:    lazuli.CodeAzureRejected,
				Message: fmt.Sprintf("the list has more than %d rows or %d pages", maxListed, maxPages),
			}
		}
	}
	return nil
}

// List returns the resources of a group that have the tag, with the state
// Azure gives for each, of any type, in Azure's order. Azure leaves the tags out of a list that
// it filtered by tag; Found.Tags then holds the tag that was asked for.
// The list may lag behind by some seconds: what is not in it may still exist.
// A group that does not exist has none.
func (c *Client) List(ctx context.Context, t resource.Target, group, tag, value string) ([]resource.Found, error) {
	act := fmt.Sprintf("list the resources of group %q", group)
	set, err := c.clientsOf(t)
	if err != nil {
		return nil, explain(act, t.ClientSecret, err)
	}
	pager := set.resources.NewListByResourceGroupPager(group, &armresources.ClientListByResourceGroupOptions{
		Filter: new("tagName eq '" + quoted(tag) + "' and tagValue eq '" + quoted(value) + "'"),
		Expand: new("provisioningState"),
	})
	var out []resource.Found
	err = pages(with(ctx, t, ClassRead), pager, func(p armresources.ClientListByResourceGroupResponse) int {
		for _, r := range p.Value {
			if r != nil && r.ID != nil {
				out = append(out, foundOf(r, tag, value))
			}
		}
		return len(p.Value)
	})
	if absent(err) {
		return nil, nil
	}
	if err != nil {
		return nil, explain(act, t.ClientSecret, err)
	}
	return out, nil
}

func foundOf(r *armresources.GenericResourceExpanded, tag, value string) resource.Found {
	f := resource.Found{
		ID: *r.ID, Type: resource.TypeOf(*r.ID), State: stateOf(text(r.ProvisioningState)),
		Tags: make(map[string]string, len(r.Tags)+1),
	}
	for k, v := range r.Tags {
		f.Tags[k] = text(v)
	}
	if len(r.Tags) == 0 {
		f.Tags[tag] = value
	}
	return f
}

// quoted escapes a literal of an OData filter.
func quoted(s string) string { return strings.ReplaceAll(s, "'", "''") }

func text[S ~string](p *S) string {
	if p == nil {
		return ""
	}
	return string(*p)
}

func texts[S ~string](in []*S) []string {
	out := make([]string, 0, len(in))
	for _, p := range in {
		if p != nil {
			out = append(out, string(*p))
		}
	}
	return out
}

// BootLog returns the last lines (all that is kept, for lines <= 0) of a VM's
// serial console, at most 1 MiB. It is "" while there is no log yet. The log is fetched from a signed URL,
// which appears in no error and no log, and without the account's token.
func (c *Client) BootLog(ctx context.Context, t resource.Target, vmID string, lines int) (string, error) {
	at, err := locate(t, vmID)
	if err != nil {
		return "", err
	}
	if at.resType != resource.TypeVirtualMachine {
		return "", lazuli.Errorf(lazuli.CodeInternal, "%q is not a virtual machine", vmID)
	}
	act := "read the boot log of " + at.String()
	set, err := c.clientsOf(t)
	if err != nil {
		return "", explain(act, t.ClientSecret, err)
	}
	data, err := set.machines.RetrieveBootDiagnosticsData(with(ctx, t, ClassWrite), at.group, at.name, nil)
	if err != nil {
		return "", explain(act, t.ClientSecret, err)
	}
	signed := text(data.SerialConsoleLogBlobURI)
	if signed == "" {
		return "", nil
	}
	log, err := c.fetchLog(ctx, t, signed)
	if err != nil {
		return "", explain(act, t.ClientSecret, err)
	}
	return lastLines(log, lines), nil
}

func (c *Client) fetchLog(ctx context.Context, t resource.Target, signed string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.CallTimeout)
	defer cancel()
	u, err := url.Parse(signed)
	if err != nil || u.Scheme != schemeHTTPS {
		return nil, lazuli.Errorf(lazuli.CodeAzureRejected, "the log's address is not an https URL")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), http.NoBody)
	if err != nil {
		return nil, lazuli.Errorf(lazuli.CodeAzureRejected, "the log's address is malformed")
	}
	bucket := Bucket{
		Principal: t.TenantID + "/" + t.ClientID, Subscription: t.SubscriptionID, Location: t.Location, Provider: providerStorage, Class: ClassRead,
	}
	if err := c.budget.enter(ctx, bucket); err != nil {
		return nil, err
	}
	resp, err := c.wireOf(t.Cloud.CAFile).Do(req)
	c.budget.leave(bucket, resp)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusNotFound: // the VM has not written yet
		return nil, nil
	case resp.StatusCode != http.StatusOK:
		return nil, lazuli.Errorf(lazuli.CodeAzureUnreachable, "the log's storage answers HTTP %d", resp.StatusCode)
	}
	return tail(io.LimitReader(resp.Body, maxBootLog), keptLog)
}

// tail reads to the end and keeps the last limit bytes.
func tail(r io.Reader, limit int) ([]byte, error) {
	var kept []byte
	chunk := make([]byte, limit)
	for {
		n, err := io.ReadFull(r, chunk)
		kept = append(kept, chunk[:n]...)
		if over := len(kept) - limit; over > 0 {
			kept = append(kept[:0:0], kept[over:]...)
		}
		if err != nil {
			if err == io.EOF || err == io.ErrUnexpectedEOF { // ReadFull returns them bare
				return kept, nil
			}
			return nil, fmt.Errorf("read the log: %w", err)
		}
	}
}

func lastLines(log []byte, n int) string {
	s := strings.ToValidUTF8(strings.ReplaceAll(string(log), "\x00", ""), "?")
	if n <= 0 {
		return s
	}
	lines := strings.Split(strings.TrimRight(s, "\r\n"), "\n")
	if len(lines) > n {
		lines = lines[len(lines)-n:]
	}
	return strings.Join(lines, "\n")
}
