package result

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	hdrhistogram "github.com/HdrHistogram/hdrhistogram-go"
)

// Quantiles are the percentiles that a file states beside the encoded histogram,
// for readers without a decoder.
var quantiles = [...]float64{50, 90, 99, 99.9, 99.99, 100}

const (
	// maxEncoded bounds the encoded text of a histogram. One of this package's
	// geometry with a different count in every place takes less.
	maxEncoded = 512 << 10
	// maxHighest and maxDigits bound the geometry, and so what decoding allocates:
	// an hour in nanoseconds with three digits takes 33,000 counts.
	maxHighest = int64(time.Hour)
	maxDigits  = 3
)

// Histogram is a distribution of times in nanoseconds. In a file it is the
// HdrHistogram V2 encoding, compressed and in base64, beside some quantiles.
// The zero value is empty.
type Histogram struct{ h *hdrhistogram.Histogram }

// NewHistogram keeps h, which must not change any more.
func NewHistogram(h *hdrhistogram.Histogram) Histogram { return Histogram{h} }

// Count is how many values it holds.
func (h Histogram) Count() int64 {
	if h.h == nil {
		return 0
	}
	return h.h.TotalCount()
}

// At is the value at a percentile (0 to 100); 0 if there are none.
func (h Histogram) At(percentile float64) time.Duration {
	if h.Count() == 0 {
		return 0
	}
	return time.Duration(h.h.ValueAtPercentile(percentile))
}

// Merge is the distribution of the values of all.
func Merge(all ...Histogram) Histogram {
	var sum *hdrhistogram.Histogram
	for _, h := range all {
		switch {
		case h.Count() == 0:
		case sum == nil:
			sum = hdrhistogram.Import(h.h.Export())
		default:
			sum.Merge(h.h)
		}
	}
	return Histogram{sum}
}

// histogramJSON is the form in a file.
type histogramJSON struct {
	Quantiles []quantile `json:"quantiles,omitempty"`
	Encoded   string     `json:"hdr_v2,omitempty"`
}

type quantile struct {
	Percentile float64       `json:"percentile"`
	Value      time.Duration `json:"ns"`
}

// MarshalJSON is the form in a file.
func (h Histogram) MarshalJSON() ([]byte, error) {
	var form histogramJSON
	if h.Count() > 0 {
		for _, p := range quantiles {
			form.Quantiles = append(form.Quantiles, quantile{p, h.At(p)})
		}
		encoded, err := h.h.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
		if err != nil {
			return nil, fmt.Errorf("encoding a histogram: %w", err)
		}
		form.Encoded = string(encoded)
	}
	return json.Marshal(form)
}

// UnmarshalJSON reads it. The encoded histogram alone counts: the quantiles are
// for other readers.
func (h *Histogram) UnmarshalJSON(text []byte) error {
	var form histogramJSON
	if err := json.Unmarshal(text, &form); err != nil {
		return fmt.Errorf("reading a histogram: %w", err)
	}
	h.h = nil
	if form.Encoded == "" {
		return nil
	}
	if err := checkGeometry(form.Encoded); err != nil {
		return fmt.Errorf("reading a histogram: %w", err)
	}
	decoded, err := hdrhistogram.Decode([]byte(form.Encoded))
	if err != nil {
		return fmt.Errorf("reading a histogram: %w", err)
	}
	h.h = decoded
	return nil
}

// checkGeometry looks at the header of an encoded histogram, since decoding
// allocates whatever that asks for.
func checkGeometry(encoded string) error {
	if len(encoded) > maxEncoded {
		return fmt.Errorf("%d bytes are more than the %d that one may have", len(encoded), maxEncoded)
	}
	packed, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return err
	}
	const outer = 8 // cookie and length of the compressed part
	if len(packed) < outer {
		return errors.New("it is cut off")
	}
	inflated, err := zlib.NewReader(bytes.NewReader(packed[outer:]))
	if err != nil {
		return err
	}
	var header [hdrhistogram.ENCODING_HEADER_SIZE]byte
	if _, err := io.ReadFull(inflated, header[:]); err != nil {
		return err
	}
	digits := int32(binary.BigEndian.Uint32(header[12:]))
	lowest, highest := int64(binary.BigEndian.Uint64(header[16:])), int64(binary.BigEndian.Uint64(header[24:]))
	if digits < 1 || digits > maxDigits || lowest < 1 || highest <= lowest || highest > maxHighest {
		return fmt.Errorf("it goes from %d to %d ns with %d digits, which must be within 1 ns to %s with 1 to %d digits", lowest, highest, digits, time.Duration(maxHighest), maxDigits)
	}
	return nil
}
