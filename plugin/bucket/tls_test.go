package bucket_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"out_amberflo/plugin/bucket"
	"out_amberflo/plugin/ship/failure"
)

// certificate is a self-signed one.
func certificate(t *testing.T, host string, from, until time.Time) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: host}, NotBefore: from, NotAfter: until, IsCA: true, BasicConstraintsValid: true}
	if ip := net.ParseIP(host); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{host}
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func TestWhyACertificateDoesNotCountIsTold(t *testing.T) {
	environment(t)
	now := time.Now()
	for _, tt := range []struct {
		name        string
		host        string
		from, until time.Time
		trusted     bool
		hint        string
	}{
		{"its issuer is unknown", "127.0.0.1", now.Add(-time.Hour), now.Add(time.Hour), false, "set AWS_CA_BUNDLE"},
		{"it is for another name", "s3.other.test", now.Add(-time.Hour), now.Add(time.Hour), true, "a certificate for another name"},
		{"its time is over", "127.0.0.1", now.Add(-2 * time.Hour), now.Add(-time.Hour), true, "too old or too new"},
		{"its time has not begun", "127.0.0.1", now.Add(time.Hour), now.Add(2 * time.Hour), true, "too old or too new"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			own, bundle := certificate(t, tt.host, tt.from, tt.until)
			s := newStore(t, nil, func(s *httptest.Server) {
				s.TLS = &tls.Config{Certificates: []tls.Certificate{own}}
				s.Config.ErrorLog = discard
				s.StartTLS()
			})
			if !tt.trusted {
				bundle = otherCertificate
			}
			file := filepath.Join(t.TempDir(), "ca.pem")
			write(t, file, bundle)
			t.Setenv("AWS_CA_BUNDLE", file)
			e := failed(t, put(open(t, bucket.Options{Endpoint: s.URL}), t.Context(), "x"))
			if e.Kind != failure.Unreachable || !strings.Contains(e.Hint, tt.hint) || tt.trusted && strings.Contains(e.Hint, "AWS_CA_BUNDLE") {
				t.Errorf("got %s: %v", e.Kind, e)
			}
		})
	}
}

func TestASchemeThatIsTheOtherOneIsTold(t *testing.T) {
	environment(t)
	plain := newStore(t, nil, (*httptest.Server).Start)
	for _, tt := range []struct{ name, endpoint, hint string }{
		{"https at an http port", strings.Replace(plain.URL, "http:", "https:", 1), "speaks http, not https: write http:// in endpoint"},
		{"https at the port of something else", strings.Replace(serve(t, func(c net.Conn) { io.WriteString(c, "220 mail.test ESMTP\r\n") }), "http:", "https:", 1), "does not speak https: check its port"},
		{"http at an https port that hangs up", serve(t, func(net.Conn) {}), "whether it speaks https"},
		{"http at an https port that answers in TLS", serve(t, func(c net.Conn) { io.WriteString(c, "\x15\x03\x01\x00\x02\x02\x46") }), "whether it speaks https"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := failed(t, put(open(t, bucket.Options{Endpoint: tt.endpoint}), t.Context(), "x"))
			if !strings.Contains(e.Hint, tt.hint) {
				t.Errorf("got %s: %v", e.Kind, e)
			}
		})
	}
}
