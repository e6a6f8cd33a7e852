package locked

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// pages is one mapping of whole pages.
type pages struct {
	mem    []byte
	locked bool // whether mlock succeeded
}

// mapPages maps size bytes, rounded up to whole pages by the kernel. Not being
// allowed to lock them is no error.
func mapPages(size int) (*pages, error) {
	mem, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return nil, fmt.Errorf("mapping %d bytes for secrets: %w", size, err)
	}
	if err := unix.Madvise(mem, unix.MADV_DONTDUMP); err != nil {
		return nil, fmt.Errorf("keeping %d bytes for secrets out of core dumps: %w", size, joinUnmap(err, mem))
	}
	return &pages{mem: mem, locked: unix.Mlock(mem) == nil}, nil
}

// release wipes the pages and gives them back.
func (p *pages) release() error {
	clear(p.mem)
	if err := unix.Munmap(p.mem); err != nil {
		return fmt.Errorf("unmapping %d bytes of secrets: %w", len(p.mem), err)
	}
	p.mem = nil
	return nil
}

func joinUnmap(err error, mem []byte) error {
	if uerr := unix.Munmap(mem); uerr != nil {
		return fmt.Errorf("%w (and unmapping: %w)", err, uerr)
	}
	return err
}
