package result

import "slices"

// enoughRounds is from how many rounds on their range says something of the
// noise.
const enoughRounds = 3

// Verdict says whether a difference is more than the noise between rounds.
type Verdict string

// The verdicts.
const (
	Less    Verdict = "less"           // every round of the second is below every round of the first
	More    Verdict = "more"           // every round of the second is above every round of the first
	Noise   Verdict = "within noise"   // the rounds overlap
	Unclear Verdict = "too few rounds" // fewer than three on either side
	Missing Verdict = "not measured"   // on either side
)

// Ratio compares a quantity of two points: that of the second over that of the
// first.
type Ratio struct {
	A, B Spread
	// Median is that of the medians; Low and High are those of the extremes, so
	// that the rounds allow any ratio between them.
	Median, Low, High float64
	Verdict           Verdict
}

func ratioOf(a, b Spread, rounds int) Ratio {
	r := Ratio{A: a, B: b, Verdict: Missing}
	if a.Low <= 0 || b.Low <= 0 {
		return r
	}
	r.Median, r.Low, r.High = b.Median/a.Median, b.Low/a.High, b.High/a.Low
	switch {
	case rounds < enoughRounds:
		r.Verdict = Unclear
	case b.Low > a.High:
		r.Verdict = More
	case b.High < a.Low:
		r.Verdict = Less
	default:
		r.Verdict = Noise
	}
	return r
}

// Comparison is one point of two results.
type Comparison struct {
	A, B            *Point
	Throughput, CPU Ratio // CPU per request
	Latencies       []Ratio
}

// ComparedPercentiles are those of a comparison's latencies.
func ComparedPercentiles() []float64 { return []float64{50, 90, 99, 99.9} }

// Compare compares the points that two results have in common. Where a place of
// the sweep is not the same in both, points that differ in nodes and keys alone
// are compared if there is but one such pair: so is another service compared
// with this one. The rest is returned by name.
func Compare(a, b *Result) (compared []Comparison, onlyA, onlyB []*Point) {
	used := make(map[*Point]bool)
	pair := func(p, q *Point) {
		used[p], used[q] = true, true
		compared = append(compared, compare(p, q))
	}
	for i := range a.Series {
		p := &a.Series[i]
		if j := slices.IndexFunc(b.Series, func(q Point) bool { return p.Same(&q) }); j >= 0 && !used[&b.Series[j]] {
			pair(p, &b.Series[j])
		}
	}
	for i := range a.Series {
		p := &a.Series[i]
		alike := func(all []Point) (found []*Point) {
			for j := range all {
				q := all[j]
				if q.Nodes, q.Keys = p.Nodes, p.Keys; p.Same(&q) {
					found = append(found, &all[j])
				}
			}
			return found
		}
		if mine, theirs := alike(a.Series), alike(b.Series); len(mine) == 1 && len(theirs) == 1 && !used[p] && !used[theirs[0]] {
			pair(p, theirs[0])
		}
	}
	rest := func(all []Point) (left []*Point) {
		for i := range all {
			if !used[&all[i]] {
				left = append(left, &all[i])
			}
		}
		return left
	}
	return compared, rest(a.Series), rest(b.Series)
}

func compare(p, q *Point) Comparison {
	rounds := min(len(p.Rounds), len(q.Rounds))
	c := Comparison{A: p, B: q, Throughput: ratioOf(p.Throughput(), q.Throughput(), rounds)}
	cpuP, _ := p.CPUPerRequest()
	cpuQ, _ := q.CPUPerRequest()
	c.CPU = ratioOf(cpuP, cpuQ, rounds)
	for _, percentile := range ComparedPercentiles() {
		c.Latencies = append(c.Latencies, ratioOf(p.Latency(percentile), q.Latency(percentile), rounds))
	}
	return c
}
