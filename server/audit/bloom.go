package audit

// A block of lines has a Bloom filter of the values that only one trace has: it
// says for certain that a value is not in the block. At 12 bits a value it is wrong
// about one in 300 of the others, which then costs the reading of a block.
const (
	bloomBits   = 12 // bits a value
	bloomProbes = 8
	minBloom    = 64 // bits
)

// term is a value of a field, hashed (FNV-1a over the field's number and the
// value as lines have it, then mixed).
type term uint64

func termOf(f field, form []byte) term {
	h := uint64(14695981039346656037)
	h = (h ^ uint64(f)) * 1099511628211
	for _, c := range form {
		h = (h ^ uint64(c)) * 1099511628211
	}
	h ^= h >> 32
	h *= 0xd6e8feb86659fd93
	h ^= h >> 32
	return term(h)
}

// appendBloom appends a filter of the terms.
func appendBloom(dst []byte, terms []term) []byte {
	size := (max(minBloom, len(terms)*bloomBits) + 7) / 8
	start := len(dst)
	for range size {
		dst = append(dst, 0)
	}
	filter := dst[start:]
	for _, t := range terms {
		for p := range bloomProbes {
			bit := t.probe(p, size)
			filter[bit/8] |= 1 << (bit % 8)
		}
	}
	return dst
}

// probe is the number of a term's bit.
func (t term) probe(p, size int) uint64 {
	step := uint64(t)>>32 | 1
	return (uint64(t) + uint64(p)*step*0x9e3779b97f4a7c15) % (uint64(size) * 8)
}

// mayHold tells whether a filter may have been made with the term.
func mayHold(filter []byte, t term) bool {
	if len(filter) == 0 {
		return true
	}
	for p := range bloomProbes {
		if bit := t.probe(p, len(filter)); filter[bit/8]&(1<<(bit%8)) == 0 {
			return false
		}
	}
	return true
}
