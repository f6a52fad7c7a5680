// SPDX-License-Identifier: Apache-2.0

package azure

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/arm"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/compute/armcompute/v8"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/azure/resource"
)

// noun is what people call a type; a type without one cannot be handled.
func noun(t resource.Type) (string, bool) {
	n, ok := map[resource.Type]string{
		resource.TypeSecurityGroup:    "network security group",
		resource.TypePublicIP:         "public address",
		resource.TypeLoadBalancer:     "load balancer",
		resource.TypeNATGateway:       "NAT gateway",
		resource.TypeVirtualNetwork:   "virtual network",
		resource.TypeNetworkInterface: "network interface",
		resource.TypeAvailabilitySet:  "availability set",
		resource.TypeVirtualMachine:   "virtual machine",
		resource.TypeDisk:             "disk",
	}[t]
	return n, ok
}

// step is one request about a resource. The SDK makes the path, the API
// version and the checks; what Azure answers is read from the wire by capture.
type step func(ctx context.Context, group, name string) error

// once makes a step of a method of the SDK.
func once[R, O any](method func(context.Context, string, string, *O) (R, error), options *O) step {
	return func(ctx context.Context, group, name string) error {
		_, err := method(ctx, group, name, options)
		return err
	}
}

// reader returns the step that reads a resource of a type that has a noun.
func (s *clients) reader(t resource.Type) step {
	switch t {
	case resource.TypeSecurityGroup:
		return once(s.securityGroups.Get, nil)
	case resource.TypePublicIP:
		return once(s.publicIPs.Get, nil)
	case resource.TypeLoadBalancer:
		return once(s.loadBalancers.Get, nil)
	case resource.TypeNATGateway:
		return once(s.natGateways.Get, nil)
	case resource.TypeVirtualNetwork:
		return once(s.virtualNetworks.Get, nil)
	case resource.TypeNetworkInterface:
		return once(s.interfaces.Get, nil)
	case resource.TypeAvailabilitySet:
		return once(s.sets.Get, nil)
	case resource.TypeVirtualMachine:
		return once(s.machines.Get, nil)
	case resource.TypeDisk:
		return once(s.disks.Get, nil)
	}
	return unknownType(t)
}

// dropper returns the step that deletes a resource of a type that has a noun.
func (s *clients) dropper(t resource.Type, force bool) step {
	switch t {
	case resource.TypeSecurityGroup:
		return once(s.securityGroups.BeginDelete, nil)
	case resource.TypePublicIP:
		return once(s.publicIPs.BeginDelete, nil)
	case resource.TypeLoadBalancer:
		return once(s.loadBalancers.BeginDelete, nil)
	case resource.TypeNATGateway:
		return once(s.natGateways.BeginDelete, nil)
	case resource.TypeVirtualNetwork:
		return once(s.virtualNetworks.BeginDelete, nil)
	case resource.TypeNetworkInterface:
		return once(s.interfaces.BeginDelete, nil)
	case resource.TypeAvailabilitySet:
		return once(s.sets.Delete, nil)
	case resource.TypeVirtualMachine:
		if force {
			return once(s.machines.BeginDelete, &armcompute.VirtualMachinesClientBeginDeleteOptions{ForceDeletion: new(true)})
		}
		return once(s.machines.BeginDelete, nil)
	case resource.TypeDisk:
		return once(s.disks.BeginDelete, nil)
	}
	return unknownType(t)
}

func unknownType(t resource.Type) step {
	return func(context.Context, string, string) error {
		return lazuli.Errorf(lazuli.CodeInternal, "a resource of type %q cannot be handled", t)
	}
}

// place is where an id lies.
type place struct {
	noun, group, name string
	resType           resource.Type
}

func (p place) String() string { return fmt.Sprintf("%s %q", p.noun, p.name) }

// locate parses an id, which must be of t's subscription, of a type that we know.
func locate(t resource.Target, id string) (place, error) {
	rid, err := arm.ParseResourceID(id)
	if err != nil {
		return place{}, lazuli.Errorf(lazuli.CodeInternal, "the resource id %q is malformed", id)
	}
	if !strings.EqualFold(rid.SubscriptionID, t.SubscriptionID) {
		return place{}, lazuli.Errorf(lazuli.CodeInternal, "the resource %q is not of the subscription %q", id, t.SubscriptionID)
	}
	typ := resource.TypeOf(id)
	what, ok := noun(typ)
	if !ok || !strings.EqualFold(rid.ResourceType.String(), string(typ)) { // a child's id is not its parent's
		return place{}, lazuli.Errorf(lazuli.CodeInternal, "a resource of type %q cannot be handled: %s", rid.ResourceType, id)
	}
	return place{noun: what, group: rid.ResourceGroupName, name: rid.Name, resType: typ}, nil
}

// Put creates the resource, or makes it as s says. It returns as soon as Azure
// has accepted: StateSucceeded with facts where the reply is final, StateWorking
// with PollURL (empty where Azure names none: use Get) and RetryAfter otherwise.
// Repeating it with the same s is harmless. An error means that Azure refused,
// or that its answer was lost; then Get knows.
func (c *Client) Put(ctx context.Context, t resource.Target, s resource.Spec) (resource.Result, error) {
	at, err := locate(t, s.ResourceID())
	if err != nil {
		return resource.Result{}, err
	}
	act := "create " + at.String()
	set, err := c.clientsOf(t)
	if err != nil {
		return resource.Result{}, explain(act, t.ClientSecret, err)
	}
	resp, err := capture(with(ctx, t, ClassWrite), func(ctx context.Context) error {
		return put(ctx, set, at, s)
	})
	if err != nil {
		return resource.Result{}, explain(act, t.ClientSecret, err)
	}
	out, err := accepted(resp)
	if err != nil {
		return resource.Result{}, explain(act, t.ClientSecret, err)
	}
	out.Err = scrub(out.Err, t.ClientSecret)
	return out, nil
}

func put(ctx context.Context, set *clients, at place, s resource.Spec) error {
	var err error
	switch s := s.(type) {
	case resource.SecurityGroup:
		_, err = set.securityGroups.BeginCreateOrUpdate(ctx, at.group, at.name, securityGroupBody(s), nil)
	case resource.PublicIP:
		_, err = set.publicIPs.BeginCreateOrUpdate(ctx, at.group, at.name, publicIPBody(s), nil)
	case resource.LoadBalancer:
		_, err = set.loadBalancers.BeginCreateOrUpdate(ctx, at.group, at.name, loadBalancerBody(s), nil)
	case resource.NATGateway:
		_, err = set.natGateways.BeginCreateOrUpdate(ctx, at.group, at.name, natGatewayBody(s), nil)
	case resource.VirtualNetwork:
		_, err = set.virtualNetworks.BeginCreateOrUpdate(ctx, at.group, at.name, virtualNetworkBody(s), nil)
	case resource.NetworkInterface:
		_, err = set.interfaces.BeginCreateOrUpdate(ctx, at.group, at.name, interfaceBody(s), nil)
	case resource.AvailabilitySet:
		_, err = set.sets.CreateOrUpdate(ctx, at.group, at.name, availabilitySetBody(s), nil)
	case resource.VirtualMachine:
		_, err = set.machines.BeginCreateOrUpdate(ctx, at.group, at.name, virtualMachineBody(s), nil)
	default:
		err = lazuli.Errorf(lazuli.CodeInternal, "a spec of type %T cannot be put", s)
	}
	return err
}

// Get reads a resource: StateAbsent when Azure says that there is none,
// otherwise its state with facts. Of a failed VM it reads the instance view,
// too, for the reason.
func (c *Client) Get(ctx context.Context, t resource.Target, id string) (resource.Result, error) {
	at, err := locate(t, id)
	if err != nil {
		return resource.Result{}, err
	}
	act := "read " + at.String()
	set, err := c.clientsOf(t)
	if err != nil {
		return resource.Result{}, explain(act, t.ClientSecret, err)
	}
	ctx = with(ctx, t, ClassRead)
	resp, err := capture(ctx, func(ctx context.Context) error {
		return set.reader(at.resType)(ctx, at.group, at.name)
	})
	if absent(err) {
		return resource.Result{State: resource.StateAbsent}, nil
	}
	if err != nil {
		return resource.Result{}, explain(act, t.ClientSecret, err)
	}
	out, err := described(resp)
	if err != nil {
		return resource.Result{}, explain(act, t.ClientSecret, err)
	}
	if out.State == resource.StateFailed && at.resType == resource.TypeVirtualMachine {
		out = c.whyFailed(ctx, set, at, out)
	}
	out.Err = scrub(out.Err, t.ClientSecret)
	return out, nil
}

// whyFailed reads the instance view of a failed VM; without it, the state has to do.
func (c *Client) whyFailed(ctx context.Context, set *clients, at place, plain resource.Result) resource.Result {
	resp, err := capture(ctx, func(ctx context.Context) error {
		_, err := set.machines.Get(ctx, at.group, at.name,
			&armcompute.VirtualMachinesClientGetOptions{Expand: new(armcompute.InstanceViewTypesInstanceView)})
		return err
	})
	if err != nil {
		return plain
	}
	if full, err := described(resp); err == nil && full.State == resource.StateFailed {
		return full
	}
	return plain
}

// Delete deletes a resource: StateAbsent when there is none (any more),
// otherwise StateDeleting with PollURL and RetryAfter. force skips the
// graceful shutdown of a VM and means nothing for other types. A reference that
// is in the way is an error of CodeAzureConflict.
func (c *Client) Delete(ctx context.Context, t resource.Target, id string, force bool) (resource.Result, error) {
	at, err := locate(t, id)
	if err != nil {
		return resource.Result{}, err
	}
	act := "delete " + at.String()
	set, err := c.clientsOf(t)
	if err != nil {
		return resource.Result{}, explain(act, t.ClientSecret, err)
	}
	resp, err := capture(with(ctx, t, ClassDelete), func(ctx context.Context) error {
		return set.dropper(at.resType, force)(ctx, at.group, at.name)
	})
	if absent(err) {
		return resource.Result{State: resource.StateAbsent}, nil
	}
	if err != nil {
		return resource.Result{}, explain(act, t.ClientSecret, err)
	}
	return deleted(resp), nil
}

// absent reports that Azure itself says that the resource is not there. A 404
// of anything else (a proxy, a subscription that cannot be seen) is no
// knowledge of the resource.
func absent(err error) bool {
	re, ok := errors.AsType[*azcore.ResponseError](err)
	if ok && re.StatusCode == http.StatusUnauthorized && mutated("refusedIsAbsent") {
		return true
	}
	if !ok || re.StatusCode != http.StatusNotFound {
		return false
	}
	switch re.ErrorCode {
	case "ResourceNotFound", "ResourceGroupNotFound", "ParentResourceNotFound", "NotFound":
		return true
	}
	return false
}
