package target_test

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/raftkms/raftkms/bench/load"
	"github.com/raftkms/raftkms/bench/target"
)

func TestMain(m *testing.M) {
	// fasthttp ends these by itself, some seconds after the last connection.
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*HostClient).connsCleaner"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*TCPDialer).tcpAddrsClean"))
}

// got is a request as a server sees it.
type got struct {
	*http.Request
	body string
}

// serve runs a TLS server until the test ends; change is told of it before it starts.
func serve(t *testing.T, handler func(got) (status int, answer string), change func(*httptest.Server)) target.Endpoint {
	t.Helper()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		status, answer := handler(got{r, string(body)})
		w.WriteHeader(status)
		_, _ = io.WriteString(w, answer)
	}))
	server.Config.ErrorLog = nil
	if change != nil {
		change(server)
	}
	server.StartTLS()
	t.Cleanup(server.Close)
	pool := x509.NewCertPool()
	pool.AddCert(server.Certificate())
	return target.Endpoint{URLs: []string{server.URL}, CA: pool}
}

// sent prepares work and makes calls of it, and fails unless they succeed.
func sent(t *testing.T, s target.Service, w target.Work, calls int) {
	t.Helper()
	cfg, err := s.Prepare(t.Context(), w)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Workers = 1
	poster, err := load.NewPoster(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer poster.Close()
	for range calls {
		if err := poster.Call(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
	}
}

func refused(t *testing.T, s target.Service, w target.Work, want string) {
	t.Helper()
	if _, err := s.Prepare(t.Context(), w); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%+v: want %q, got %v", w, want, err)
	}
}

func TestTransitAsksForDataKeys(t *testing.T) {
	var requests []string
	endpoint := serve(t, func(r got) (int, string) {
		if r.Header.Get("X-Vault-Token") != "s.token" {
			return http.StatusForbidden, `{"errors":["permission denied"]}`
		}
		requests = append(requests, r.Method+" "+r.RequestURI+" "+r.body)
		return http.StatusOK, `{"data":{"ciphertext":"vault:v1:x"}}`
	}, nil)
	transit, err := target.NewTransit(endpoint, "", "s.token")
	if err != nil {
		t.Fatal(err)
	}
	sent(t, transit, target.Work{Operation: target.CreateDataKey, Keys: []string{"a", "b"}}, 3)
	other, err := target.NewTransit(endpoint, "/secrets/transit/", "s.token")
	if err != nil {
		t.Fatal(err)
	}
	sent(t, other, target.Work{Operation: target.CreateDataKeyWithout, Keys: []string{"a"}, Payload: 64}, 1)
	want := `POST /v1/transit/datakey/plaintext/a {"bits":256}|POST /v1/transit/datakey/plaintext/b {"bits":256}|` +
		`POST /v1/transit/datakey/plaintext/a {"bits":256}|POST /v1/secrets/transit/datakey/wrapped/a {"bits":512}`
	if got := strings.Join(requests, "|"); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	refused(t, transit, target.Work{Operation: target.Sign, Keys: []string{"a"}}, `transit is not driven with "sign"`)
	refused(t, transit, target.Work{Operation: target.CreateDataKey, Keys: []string{"a"}, Payload: 48}, "16, 32 or 64")

	wrong, err := target.NewTransit(endpoint, "", "wrong")
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := wrong.Prepare(t.Context(), target.Work{Operation: target.CreateDataKey, Keys: []string{"a"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := target.Reach(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "refuses the credentials") {
		t.Errorf("a wrong token: %v", err)
	}
}

func TestKESIsAskedWithACertificate(t *testing.T) {
	identity := clientCertificate(t)
	var requests []string
	asks := func(server *httptest.Server) {
		pool := x509.NewCertPool()
		pool.AddCert(identity.Leaf)
		server.TLS = &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool}
	}
	endpoint := serve(t, func(r got) (int, string) {
		requests = append(requests, r.Method+" "+r.RequestURI+" "+r.body+" "+r.TLS.PeerCertificates[0].Subject.CommonName)
		return http.StatusOK, `{"plaintext":"","ciphertext":""}`
	}, asks)
	if _, err := target.NewKES(endpoint); err == nil || !strings.Contains(err.Error(), "--certificate-file") {
		t.Errorf("without a certificate: %v", err)
	}
	endpoint.Certificate = &identity
	kes, err := target.NewKES(endpoint)
	if err != nil {
		t.Fatal(err)
	}
	sent(t, kes, target.Work{Operation: target.CreateDataKey, Keys: []string{"my-key"}}, 1)
	if got := strings.Join(requests, "|"); got != "PUT /v1/key/generate/my-key {} bench" {
		t.Errorf("got %s", got)
	}
	refused(t, kes, target.Work{Operation: target.DecryptData, Keys: []string{"a"}}, `KES is not driven with "decrypt-data"`)
	refused(t, kes, target.Work{Operation: target.CreateDataKey, Keys: []string{"a"}, Payload: 16}, "32 bytes")

	cfg, err := kes.Prepare(t.Context(), target.Work{Operation: target.CreateDataKey, Keys: []string{"my-key"}})
	if err != nil {
		t.Fatal(err)
	}
	cfg.Certificate = nil
	if err := target.Reach(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "--certificate-file") {
		t.Errorf("without a certificate: %v", err)
	}
}

func TestAddressesAreChecked(t *testing.T) {
	f := func(want string, urls ...string) {
		t.Helper()
		if _, err := target.NewTransit(target.Endpoint{URLs: urls}, "", ""); (err == nil) != (want == "") || (err != nil && !strings.Contains(err.Error(), want)) {
			t.Errorf("%v: %v", urls, err)
		}
	}
	f("address of the service is missing")
	f("", "https://kms.example.com")
	f("plain HTTP", "http://host:1")
	f("is not of the form", "host:1")
	f("is not of the form", "https://")
	f("is not of the form", "https://host/path")
	f("is not of the form", "https://user@host")
	f("is not of the form", "ftp://host")
}

// TestTheHostOfTheUsualPortIsNamedWithoutIt as signatures of others expect it.
func TestTheHostOfTheUsualPortIsNamedWithoutIt(t *testing.T) {
	transit, err := target.NewTransit(target.Endpoint{URLs: []string{"https://kms.example.com"}}, "", "")
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := transit.Prepare(t.Context(), target.Work{Operation: target.CreateDataKey, Keys: []string{"a"}})
	if err != nil {
		t.Fatal(err)
	}
	var seen string
	cfg.Prove = func(r load.Outgoing) (map[string]string, error) {
		seen = r.Host
		return nil, io.ErrUnexpectedEOF // nothing is to be sent
	}
	cfg.Workers = 1
	poster, err := load.NewPoster(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer poster.Close()
	if err := poster.Call(t.Context(), 0); err == nil || seen != "kms.example.com" || cfg.URLs[0] != "https://kms.example.com:443" {
		t.Errorf("%q of %v, %v", seen, cfg.URLs, err)
	}
}
