package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// maxMetricsBytes bounds what is read of an endpoint's metrics.
const maxMetricsBytes = 16 << 20

// scraper reads the metrics of servers in the Prometheus text form, and adds
// those of the same name up.
type scraper struct {
	urls []string // of /metrics
	http *http.Client
}

func newScraper(endpoints []string, ca *x509.CertPool) *scraper {
	s := &scraper{http: &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: ca}}}}
	for _, endpoint := range endpoints {
		s.urls = append(s.urls, strings.TrimSuffix(endpoint, "/")+"/metrics")
	}
	return s
}

func (s *scraper) close() { s.http.CloseIdleConnections() }

// read returns the sums of the wanted metrics that every server has.
func (s *scraper) read(ctx context.Context, wanted ...string) (map[string]float64, error) {
	sums, seen := make(map[string]float64), make(map[string]int)
	for _, address := range s.urls {
		if err := s.readOne(ctx, address, wanted, sums, seen); err != nil {
			return nil, err
		}
	}
	for name, n := range seen {
		if n < len(s.urls) {
			delete(sums, name)
		}
	}
	return sums, nil
}

func (s *scraper) readOne(ctx context.Context, address string, wanted []string, sums map[string]float64, seen map[string]int) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return fmt.Errorf("asking for the metrics: %w", err)
	}
	response, err := s.http.Do(request)
	if err != nil {
		return fmt.Errorf("asking for the metrics: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("asking for the metrics: %s answered %s", address, response.Status)
	}
	lines := bufio.NewScanner(io.LimitReader(response.Body, maxMetricsBytes))
	for lines.Scan() {
		name, text, _ := strings.Cut(lines.Text(), " ")
		for _, w := range wanted {
			if name != w {
				continue
			}
			value, err := strconv.ParseFloat(text, 64)
			if err != nil {
				return fmt.Errorf("reading the metrics: %w", err)
			}
			sums[name] += value
			seen[name]++
		}
	}
	return lines.Err()
}
