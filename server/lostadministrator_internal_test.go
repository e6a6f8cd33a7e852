package server

import (
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/raftkms/raftkms/server/iam"
	"github.com/raftkms/raftkms/server/wire"
)

// Who has lost the password and the second factor comes back by a certificate
// that an operator has the cluster believe, as the README says.
func (c *trio) comeBack(t *testing.T) {
	login := func(password string) int {
		t.Helper()
		response, _ := c.do(1, "POST", "/v3/auth/tokens", fmt.Sprintf(`{"auth":{"identity":{"methods":["password"],"password":{"user":{"id":"%s","password":"%s"}}}}}`, c.founded.UserID, password))
		return response.StatusCode
	}
	token := c.login(0)
	_, body := c.do(1, "POST", "/v3.0/OS-MFA/virtual-mfa-devices", `{"virtual_mfa_device":{"name":"lost","user_id":"`+c.founded.UserID+`"}}`, "X-Auth-Token", token)
	var device wire.MFADeviceReply
	must(t, json.Unmarshal([]byte(body), &device))
	bind := fmt.Sprintf(`{"user_id":"%s","serial_number":"%s","authentication_code_first":"%s"}`, c.founded.UserID, device.Device.SerialNumber, iam.TOTPCode(seedOf(t, device), time.Now().UnixMilli()))
	if response, body := c.do(2, "PUT", "/v3.0/OS-MFA/mfa-devices/bind", bind, "X-Auth-Token", token); response.StatusCode != 204 {
		t.Fatalf("%d %s", response.StatusCode, body)
	}
	if status := login(c.founded.Password); status != 401 {
		t.Fatalf("without the second factor: %d", status)
	}

	ca := newAuthority(t, "the operator's")
	c.believe(t, wire.Provider{ID: "back", Kind: wire.ProviderClientCA, Certificate: ca.pem()})
	bound, err := bindIdentity(c.nodes[0].machine.State(), wire.Binding{Provider: "back", Name: "dns:operator.test", User: "u"})
	must(t, err)
	must(t, c.nodes[0].changeProviders(t.Context(), constantly(bound)))
	certificate := ca.issue(t, func(c *x509.Certificate) { c.DNSNames = []string{"operator.test"} })
	byCertificate := *c
	byCertificate.client = &http.Client{Transport: c.transport(t, certificate)}
	f := func(method, path, body string) {
		t.Helper()
		if response, body := byCertificate.do(2, method, path, body); response.StatusCode != 204 {
			t.Errorf("%s %s: %d %s", method, path, response.StatusCode, body)
		}
	}
	f("PUT", "/v3/users/"+c.founded.UserID+"/password", `{"user":{"password":"another long password"}}`)
	f("DELETE", "/v3.0/OS-MFA/virtual-mfa-devices?user_id="+c.founded.UserID, "")
	if old, now := login(c.founded.Password), login("another long password"); old != 401 || now != 201 {
		t.Errorf("with the password from before %d, with the one now %d", old, now)
	}
}
