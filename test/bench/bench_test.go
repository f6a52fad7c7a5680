// SPDX-License-Identifier: Apache-2.0

package bench_test

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lazuli-dev/lazuli/test/bench"
)

// Flags of the benchmark's own binary, which `make bench` runs.
var (
	quick = flag.Bool("quick", false, "few seeds and small fleets: minutes become seconds, figures become rough")
	only  = flag.String("only", "", "only these parts, separated by commas: create, stock, idle, engine, killed, scale")
	show  = flag.Bool("trace", false, "show the chain and the records of the median seed")
)

// sizes are how much is measured.
type sizes struct {
	seeds, stock int
	fleet        int           // clusters of the idle fleet
	reconciles   int           // no-ops
	touches      int           // wake-ups
	kills        int           // engines
	clusters     int           // stored
	load         time.Duration // of each sort of request
}

func full() sizes {
	return sizes{seeds: 200, stock: 40, fleet: 100, reconciles: 20_000, touches: 1000, kills: 20, clusters: 10_000, load: 15 * time.Second}
}

func rough() sizes {
	return sizes{seeds: 10, stock: 4, fleet: 4, reconciles: 2000, touches: 200, kills: 4, clusters: 500, load: 3 * time.Second}
}

// TestBench prints the figures. It is skipped in the tests: see TestSmoke.
func TestBench(t *testing.T) {
	if os.Getenv("LAZULI_BENCH") == "" {
		t.Skip("make bench runs it")
	}
	n := full()
	if *quick {
		n = rough()
	}
	table := bench.NewTable(os.Stdout)
	for _, part := range []struct {
		name string
		run  func(*testing.T, *bench.Table, sizes)
	}{
		{"create", benchCreate}, {"stock", benchStock}, {"idle", benchIdle}, {"engine", benchEngines}, {"killed", benchKilled}, {"scale", benchScale},
	} {
		if *only != "" && !slices.Contains(strings.Split(*only, ","), part.name) {
			continue
		}
		t.Run(part.name, func(t *testing.T) { part.run(t, table, n) })
	}
}

// TestSmoke makes every figure that virtual time makes, of one seed, so that
// the benchmark does not rot.
func TestSmoke(t *testing.T) {
	t.Parallel()
	l := live(t, 1, true, true)
	switch {
	case l.bound <= 0 || l.ready < l.bound:
		t.Errorf("ready after %s, bound %s", l.ready, l.bound)
	case l.serial < l.ready:
		t.Errorf("a serial controller would have the cluster after %s, we had it after %s", l.serial, l.ready)
	case l.left > 0:
		t.Errorf("%d resources are left", l.left)
	}
}

// lives runs seeds, as many at a time as there are processors.
func lives(t *testing.T, n int, preinstalled, remove bool) []life {
	t.Helper()
	all := make([]life, n)
	t.Run("seeds", func(t *testing.T) {
		for i := range n {
			t.Run(fmt.Sprint(i+1), func(t *testing.T) {
				t.Parallel()
				all[i] = live(t, uint64(i)+1, preinstalled, remove)
			})
		}
	})
	good := slices.DeleteFunc(all, func(l life) bool { return l.bound == 0 }) // it failed and said so
	if len(good) == 0 {
		t.Fatal("no seed came to its end")
	}
	return good
}

func seconds(d time.Duration) float64 { return d.Seconds() }

func benchCreate(t *testing.T, table *bench.Table, n sizes) {
	all := lives(t, n.seeds, true, true)
	of := fmt.Sprintf(", median of %d seeds", len(all))
	table.Figure("cluster of 3+3 Ready, virtual time"+of, seconds(median(each(all, func(l life) time.Duration { return l.ready }))), "s", bench.None)
	table.Figure("  the same, 95th percentile", seconds(percentile(each(all, func(l life) time.Duration { return l.ready }), 95)), "s", bench.None)
	table.Figure("  lower bound by the fixed table"+of, seconds(median(each(all, func(l life) time.Duration { return l.bound }))), "s", bench.None)
	table.Figure("  Ready / lower bound"+of, median(each(all, life.ratio)), "ratio", 1.10)
	table.Figure("  Ready / lower bound, 95th percentile", percentile(each(all, life.ratio), 95), "ratio", bench.None)
	table.Figure("  model of a serial controller, 15 s requeue"+of, seconds(median(each(all, func(l life) time.Duration { return l.serial }))), "s (model)", bench.None)
	table.Figure("  model of a serial controller / lower bound"+of,
		median(each(all, func(l life) float64 { return float64(l.serial) / float64(l.bound) })), "ratio (model)", bench.None)
	table.Figure("calls to Azure to create 3+3, polls included"+of, float64(median(each(all, func(l life) int { return l.calls }))), "calls", 45)
	table.Figure("  of them writes"+of, float64(median(each(all, func(l life) int { return l.writes }))), "calls", 20)
	table.Figure("calls to Azure to delete 3+3"+of, float64(median(each(all, func(l life) int { return l.deleteCalls }))), "calls", 30)
	table.Figure("cluster of 3+3 gone, virtual time"+of, seconds(median(each(all, func(l life) time.Duration { return l.gone }))), "s", bench.None)
	table.Figure("resources left after delete, all seeds", float64(sum(each(all, func(l life) int { return l.left }))), "resources", 0)
	if *show {
		showMedian(t, all)
	}
}

func benchStock(t *testing.T, table *bench.Table, n sizes) {
	all := lives(t, n.stock, false, false)
	of := fmt.Sprintf(", median of %d seeds", len(all))
	table.Figure("3+3 on stock Ubuntu Ready, virtual time"+of, seconds(median(each(all, func(l life) time.Duration { return l.ready }))), "s", bench.None)
	table.Figure("  Ready / lower bound, install included"+of, median(each(all, life.ratio)), "ratio", 1.10)
	if *show {
		showMedian(t, all)
	}
}

// showMedian tells where the median seed lost its time.
func showMedian(t *testing.T, all []life) {
	t.Helper()
	slices.SortFunc(all, func(a, b life) int { return int((a.ratio() - b.ratio()) * 1e6) })
	for _, l := range []life{all[len(all)/2], all[len(all)*95/100]} {
		fmt.Printf("\nseed %d: Ready after %s, bound %s, ratio %.3f\n", l.seed, l.ready, l.bound, l.ratio())
		for _, c := range l.chain {
			fmt.Printf("  %7.2f %s\n", c.End.Seconds(), c.What)
		}
		fmt.Println(l.trace)
	}
}

func sum(list []int) (total int) {
	for _, v := range list {
		total += v
	}
	return total
}

func percentile[T int | time.Duration | float64](list []T, p int) T {
	list = slices.Clone(list)
	slices.Sort(list)
	return list[min(len(list)*p/100, len(list)-1)]
}
