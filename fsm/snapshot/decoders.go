package snapshot

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/raftkms/raftkms/fsm/state"
)

const (
	// decoding is how many batches are decoded side by side, and how many more
	// wait for their turn at most.
	decoding = 4
	// batchRecords and batchBytes end a batch, whichever comes first.
	batchRecords = 256
	batchBytes   = 256 << 10
)

// decoders decode records side by side and add them to a loader in the order in
// which they were read, so that the state, and the first error, are those of one
// after the other. Whoever starts them feeds them, and then waits for them.
type decoders struct {
	current *batch
	work    chan *batch // to be decoded, by whoever is free
	order   chan *batch // the same, in their order
	all     sync.WaitGroup
	failed  atomic.Bool
	err     error // of adding; read after all have ended
}

// batch is some records that follow one another.
type batch struct {
	first   uint64 // number of the first record
	tables  []state.Table
	ends    []int // of the records in data
	data    []byte
	records []state.Decoded
	err     error         // of the record behind records
	done    chan struct{} // closed when it is decoded
}

func startDecoders(loader *state.Loader) *decoders {
	d := &decoders{work: make(chan *batch, decoding), order: make(chan *batch, decoding)}
	for range decoding {
		d.all.Go(func() {
			for b := range d.work {
				b.decode()
			}
		})
	}
	d.all.Go(func() {
		for b := range d.order {
			<-b.done
			if d.err == nil {
				if d.err = b.add(loader); d.err != nil {
					d.failed.Store(true)
				}
			}
		}
	})
	return d
}

// place returns where the next record is to be read to.
func (d *decoders) place(table state.Table, number uint64, size int) []byte {
	if d.current == nil {
		d.current = &batch{first: number, data: make([]byte, 0, max(size, batchBytes/4)), done: make(chan struct{})}
	}
	b := d.current
	start := len(b.data)
	b.data = append(b.data, make([]byte, size)...)
	b.tables, b.ends = append(b.tables, table), append(b.ends, len(b.data))
	return b.data[start:]
}

// unplace takes that back: the record could not be read to its end.
func (d *decoders) unplace() {
	b := d.current
	last := len(b.ends) - 1
	b.tables, b.ends = b.tables[:last], b.ends[:last]
}

// placed says that the record is there; false: nothing more is wanted.
func (d *decoders) placed() bool {
	if b := d.current; len(b.ends) >= batchRecords || len(b.data) >= batchBytes {
		d.hand()
	}
	return !d.failed.Load()
}

// hand gives the current batch away.
func (d *decoders) hand() {
	d.order <- d.current
	d.work <- d.current
	d.current = nil
}

// wait ends the decoders and returns the first error.
func (d *decoders) wait() error {
	if d.current != nil {
		d.hand()
	}
	close(d.order)
	close(d.work)
	d.all.Wait()
	return d.err
}

func (b *batch) decode() {
	defer close(b.done)
	b.records = make([]state.Decoded, 0, len(b.ends))
	start := 0
	for i, end := range b.ends {
		record, err := state.Decode(b.tables[i], b.data[start:end])
		if err != nil {
			b.err = err
			return
		}
		b.records = append(b.records, record)
		start = end
	}
}

func (b *batch) add(loader *state.Loader) error {
	for i, record := range b.records {
		if err := loader.Add(record); err != nil {
			return fmt.Errorf("%w: record %d: %w", ErrCorrupt, b.first+uint64(i), err)
		}
	}
	if b.err != nil {
		return fmt.Errorf("%w: record %d: %w", ErrCorrupt, b.first+uint64(len(b.records)), b.err)
	}
	return nil
}
