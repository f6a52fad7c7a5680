// SPDX-License-Identifier: Apache-2.0

package model

import (
	"math"
	"math/rand/v2"
	"time"

	"github.com/lazuli-dev/lazuli/internal/azuresim"
)

// span is a uniform distribution in seconds.
type span struct{ low, high float64 }

func (s span) draw(r *rand.Rand) time.Duration {
	return seconds(s.low + r.Float64()*(s.high-s.low))
}

// z95 is the 95th percentile of the standard normal distribution.
const z95 = 1.6448536269514722

// lognormal draws seconds by median and 95th percentile.
func lognormal(r *rand.Rand, median, p95 float64) time.Duration {
	return seconds(median * math.Exp(r.NormFloat64()*math.Log(p95/median)/z95))
}

func seconds(s float64) time.Duration {
	return time.Duration(s * float64(time.Second)).Round(time.Millisecond)
}

// timing holds what one machine's boot takes. Measured on Azure and with kubeadm 1.35 to 1.36: init 20 to 45 s with
// images in place, control-plane join 20 to 60 s with 5 to 15 s as an etcd learner, worker join 5 to 15 s.
type timing struct {
	final       time.Duration // provisioning report to the final stage of cloud-init
	install     time.Duration // packages and images on a stock image
	prepare     time.Duration // init: pre-flight, certificates, static pods
	apiHealthy  time.Duration // init: until kube-apiserver is healthy
	upload      time.Duration // init: configuration, bootstrap tokens, cluster-info
	addons      time.Duration // init: CoreDNS and kube-proxy
	joinPrepare time.Duration // join as control plane: certificates, static pods
	learner     time.Duration // join as control plane: added as learner until promoted
	joinHealthy time.Duration // join as control plane: until its kube-apiserver is healthy
	join        time.Duration // join as worker, after discovery
	register    time.Duration // kubelet start to its Node
	reboot      time.Duration // power on to kubelet
}

func drawTiming(env azuresim.Env, id string) timing {
	r := env.Rand("model|" + id)
	return timing{
		final:       span{4, 12}.draw(r),
		install:     span{30, 90}.draw(r),
		prepare:     span{6, 10}.draw(r),
		apiHealthy:  min(lognormal(r, 6, 22), 2*time.Minute),
		upload:      span{3, 5}.draw(r),
		addons:      span{3, 5}.draw(r),
		joinPrepare: span{6, 16}.draw(r),
		learner:     span{5, 15}.draw(r),
		joinHealthy: span{3, 12}.draw(r),
		join:        span{3, 11}.draw(r),
		register:    span{1, 4}.draw(r),
		reboot:      span{12, 33}.draw(r),
	}
}
