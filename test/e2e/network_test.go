package e2e

import (
	"cmp"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// named is an S3 endpoint that only a proxy knows.
const named = "s3.internal.invalid"

// network is what stands between the plugin and the S3 server: a server with a certificate of a CA of its own, and a forward
// proxy that knows where named is and passes nothing else on.
type network struct {
	proxy, tls *httptest.Server
	ca         string // a file

	mu    sync.Mutex
	asked []string // of the proxy: host:port
}

// network listens on an address of this machine, with port 0.
func (b *bench) network(listen string) *network {
	b.Helper()
	n := &network{}
	target, err := url.Parse(b.server.Endpoint)
	if err != nil {
		b.Fatal(err)
	}
	// Signatures cover the host that the client has asked.
	s3 := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target); r.Out.Host = r.In.Host }}
	certificate, ca := selfSigned(b.T)
	n.ca = b.write("ca.pem", ca)
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		b.Skipf("cannot listen on %s: %v", listen, err)
	}
	n.tls = &httptest.Server{Listener: listener, Config: &http.Server{Handler: s3, ErrorLog: log.New(io.Discard, "", 0)}}
	n.tls.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	n.tls.StartTLS()
	n.proxy = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n.mu.Lock()
		n.asked = append(n.asked, r.Host)
		n.mu.Unlock()
		switch host, _, _ := net.SplitHostPort(r.Host); {
		case r.Method != http.MethodConnect:
			s3.ServeHTTP(w, r)
		case host == named:
			tunnel(w, n.tls.Listener.Addr().String())
		default:
			http.Error(w, "this proxy goes nowhere else", http.StatusBadGateway)
		}
	}))
	b.Cleanup(func() { n.proxy.Close(); n.tls.Close() })
	return n
}

func (n *network) saw(host string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Contains(n.asked, host)
}

func tunnel(w http.ResponseWriter, to string) {
	server, err := net.Dial("tcp", to)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	w.WriteHeader(http.StatusOK)
	client, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		server.Close()
		return
	}
	go func() { _, _ = io.Copy(server, buffered); server.Close() }()
	go func() { _, _ = io.Copy(client, server); client.Close() }()
}

// selfSigned makes a certificate for named and for this machine, and what has to be trusted for it.
func selfSigned(t *testing.T) (tls.Certificate, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	of := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true,
		BasicConstraintsValid: true, DNSNames: []string{named}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}}
	der, err := x509.CreateCertificate(rand.Reader, of, of, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// docs/network.md says what is tried here. The environment of this test is emptied of what it is about.
func TestTheNetworksVariablesHold(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		listen string // of the TLS server; "" for 127.0.0.1
		// In these, PROXY, CA, PROFILE, TLS, S3 and PORT stand for the addresses and files of this run.
		env     []string
		section []string
		proxied string // what the proxy was asked for; "" for nothing
	}{
		{"HTTP_PROXY", "", []string{"HTTP_PROXY=PROXY"}, []string{"endpoint http://" + named}, named},
		{"http_proxy, in small letters", "", []string{"http_proxy=PROXY"}, []string{"endpoint http://" + named}, named},
		{"HTTPS_PROXY and AWS_CA_BUNDLE", "", []string{"HTTPS_PROXY=PROXY", "AWS_CA_BUNDLE=CA"}, []string{"endpoint https://" + named}, named + ":443"},
		{"HTTPS_PROXY and SSL_CERT_FILE", "", []string{"HTTPS_PROXY=PROXY", "SSL_CERT_FILE=CA"}, []string{"endpoint https://" + named}, named + ":443"},
		{"an address of no loopback is asked for through a proxy", "", []string{"HTTP_PROXY=PROXY"}, []string{"endpoint http://0.0.0.0:PORT"}, "0.0.0.0:PORT"},
		{"NO_PROXY", "", []string{"HTTP_PROXY=PROXY", "NO_PROXY=10.0.0.0/8,0.0.0.0"}, []string{"endpoint http://0.0.0.0:PORT"}, ""},
		{"loopback without NO_PROXY", "", []string{"HTTP_PROXY=PROXY", "HTTPS_PROXY=PROXY"}, []string{"endpoint S3"}, ""},
		{"AWS_CA_BUNDLE without a proxy", "", []string{"AWS_CA_BUNDLE=CA"}, []string{"endpoint TLS"}, ""},
		{"IPv6", "[::1]:0", []string{"AWS_CA_BUNDLE=CA"}, []string{"endpoint TLS"}, ""},
		{"AWS_ENDPOINT_URL_S3", "", []string{"AWS_ENDPOINT_URL_S3=S3"}, []string{"endpoint", "force_path_style on"}, ""},
		{"the option endpoint before AWS_ENDPOINT_URL_S3", "", []string{"AWS_ENDPOINT_URL_S3=http://127.0.0.1:1"}, nil, ""},
		{"a profile's ca_bundle", "", []string{"AWS_CONFIG_FILE=PROFILE"}, []string{"endpoint TLS"}, ""},
		{"AWS_ENDPOINT_URL", "", []string{"AWS_ENDPOINT_URL=S3"}, []string{"endpoint", "force_path_style on"}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, bundledHost)
			n := b.network(cmp.Or(test.listen, "127.0.0.1:0"))
			s3, _ := url.Parse(b.server.Endpoint)
			profile := b.write("profile", []byte("[default]\nca_bundle = "+n.ca+"\n"))
			now := strings.NewReplacer("PROXY=PROXY", "PROXY="+n.proxy.URL, "proxy=PROXY", "proxy="+n.proxy.URL, "=CA", "="+n.ca, "=PROFILE", "="+profile, "TLS", n.tls.URL,
				"=S3", "="+b.server.Endpoint, " S3", " "+b.server.Endpoint, "PORT", s3.Port())
			b.env = withoutNetwork()
			for _, e := range test.env {
				b.env = append(b.env, now.Replace(e))
			}
			for i, line := range test.section {
				test.section[i] = now.Replace(line)
			}
			b.run(counted(20, 10), b.section(test.section...))
			b.wantCounted(20)
			b.wantDelivered()
			if test.proxied != "" && !n.saw(now.Replace(test.proxied)) || test.proxied == "" && len(n.asked) > 0 {
				t.Errorf("the proxy was asked for %q, want %q", n.asked, now.Replace(test.proxied))
			}
		})
	}
}

// A proxy that goes nowhere sees where the plugin would go.
func TestFIPSAndDualStackEndpointsAreAskedFor(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		env  []string
		want string
	}{
		{"neither", nil, ".s3.us-west-2.amazonaws.com:443"},
		{"FIPS", []string{"AWS_USE_FIPS_ENDPOINT=true"}, ".s3-fips.us-west-2.amazonaws.com:443"},
		{"dual-stack", []string{"AWS_USE_DUALSTACK_ENDPOINT=true"}, ".s3.dualstack.us-west-2.amazonaws.com:443"},
		{"both", []string{"AWS_USE_FIPS_ENDPOINT=true", "AWS_USE_DUALSTACK_ENDPOINT=true"}, ".s3-fips.dualstack.us-west-2.amazonaws.com:443"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, bundledHost)
			n := b.network("127.0.0.1:0")
			b.env = append(withoutNetwork(), append(test.env, "HTTPS_PROXY="+n.proxy.URL, "HTTP_PROXY="+n.proxy.URL)...)
			p := b.start(input{}, b.section("endpoint", "region us-west-2", "shutdown_timeout 1s"))
			b.until("the proxy to be asked", func() bool { return n.saw(b.server.Bucket + test.want) })
			p.stop()
		})
	}
}

// What Fluent Bit has for its own connections is accepted in the section, and does nothing: this output has its own.
func TestFluentBitsOwnNetworkOptionsDoNothing(t *testing.T) {
	t.Parallel()
	b := newBench(t, realFluentBit)
	n := b.network("127.0.0.1:0")
	b.env = withoutNetwork()
	b.inputs = []string{"Name dummy", `Dummy {"customerId":"a","meterApiName":"m","meterValue":1}`}
	p := b.start(input{}, b.section("endpoint "+n.tls.URL, "tls.verify off", "tls.ca_file "+n.ca, "net.connect_timeout 1s", "net.dns.resolver legacy", "upload_timeout 1s", "shutdown_timeout 1s"))
	p.await("upload failed", "certificate signed by unknown authority")
	p.stop()
}

// withoutNetwork takes away what the machine of the test has set itself.
func withoutNetwork() (env []string) {
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", "AWS_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"} {
		env = append(env, name+"=")
	}
	return env
}
