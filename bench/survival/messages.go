package survival

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// messagesMetric begins the names of the counters of what a node sends to others.
const messagesMetric = "kmsd_cluster_messages_total{"

// perCall is the least number of messages a call that could be told from the
// changing number of those that come with time: a node that asked another one
// in one of two hundred calls would be above it.
const perCall = 0.005

// Messages counts what nodes send to one another because data keys are made:
// the messages of a busy time less those of a calm one, over the calls of the
// one less those of the other. What comes with time (heartbeats, leases,
// checkpoints of the traces) falls out.
func (b *Bed) Messages(ctx context.Context, each time.Duration) ([]Line, error) {
	everywhere, err := b.clientOf(urls(b.nodes)...)
	if err != nil {
		return nil, err
	}
	defer everywhere.Close()
	measure := func(n int, pause time.Duration) (calls int, sent float64, err error) {
		crypto := use(n, pause, func(ctx context.Context, _ int) error { return b.dataKey(ctx, everywhere) })
		defer crypto.stop()
		time.Sleep(time.Second)
		callsBefore := crypto.count()
		before, err := b.messages(ctx)
		if err != nil {
			return 0, 0, err
		}
		time.Sleep(each)
		after, err := b.messages(ctx)
		calls = crypto.count() - callsBefore
		if _, failed := crypto.stop(); len(failed) > 0 {
			return 0, 0, fmt.Errorf("%d data keys were refused: %w", len(failed), failed[0])
		}
		return calls, after - before, err
	}
	b.opts.Say("messages of a calm and a busy cluster")
	few, calm, err := measure(1, 50*time.Millisecond)
	if err != nil {
		return nil, err
	}
	many, busy, err := measure(8, 0)
	if err != nil {
		return nil, err
	}
	if many < few+100 {
		return nil, fmt.Errorf("%d data keys in the busy time and %d in the calm one tell nothing", many, few)
	}
	caused := (busy - calm) / float64(many-few)
	return []Line{
		{What: "messages between nodes that a data key causes", Got: fmt.Sprintf("%.4f", caused), Bound: fmt.Sprintf("0 (below %g)", perCall), Missed: caused >= perCall},
		beside(fmt.Sprintf("  in %s with %d and with %d data keys", each, few, many), fmt.Sprintf("%.0f and %.0f", calm, busy)),
	}, nil
}

// messages is the sum of what all nodes have sent.
func (b *Bed) messages(ctx context.Context) (float64, error) {
	var sum float64
	for _, n := range b.nodes {
		sent, err := b.messagesOf(ctx, n)
		if err != nil {
			return 0, fmt.Errorf("reading the metrics of %s: %w", n.ID(), err)
		}
		sum += sent
	}
	return sum, nil
}

func (b *Bed) messagesOf(ctx context.Context, n *node) (sum float64, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, n.url+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	answer, err := b.probe.Do(request)
	if err != nil {
		return 0, err
	}
	defer discard(answer)
	found := 0
	lines := bufio.NewScanner(io.LimitReader(answer.Body, 16<<20))
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), " ")
		if !strings.HasPrefix(name, messagesMetric) {
			continue
		}
		sent, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return 0, err
		}
		sum += sent
		found++
	}
	if found == 0 {
		return 0, fmt.Errorf("no %s...} among them", messagesMetric)
	}
	return sum, lines.Err()
}
