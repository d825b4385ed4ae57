package wire

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
)

// connected tells what a proxy answers that does not let requests through.
func connected(_ context.Context, proxy *url.URL, _ *http.Request, answer *http.Response) error {
	if answer.StatusCode != http.StatusOK {
		return ProxyError{proxy.Host, answer.StatusCode}
	}
	return nil
}

// ProxyError is of a proxy that does not connect to an https endpoint.
type ProxyError struct {
	host   string
	status int
}

func (e ProxyError) Error() string {
	return fmt.Sprintf("the proxy %s answered %d %s", e.host, e.status, http.StatusText(e.status))
}

// awsLocal are the addresses of AWS's metadata services under IPv6.
var awsLocal = netip.MustParsePrefix("fd00:ec2::/32")

// proxyFor is the environment's proxy, but not for metadata services: what they answer is secret, and nobody else can ask
// them.
func proxyFor(r *http.Request) (*url.URL, error) {
	if ip, err := netip.ParseAddr(r.URL.Hostname()); err == nil && (ip.IsLinkLocalUnicast() || awsLocal.Contains(ip)) {
		return nil, nil
	}
	return http.ProxyFromEnvironment(r)
}

// ProxyVariables are those of the environment that name a proxy, by the scheme of what is asked for.
var ProxyVariables = map[string][]string{"https": {"HTTPS_PROXY", "https_proxy"}, "http": {"HTTP_PROXY", "http_proxy"}}

// ProxyOf names the variable that the proxy for an endpoint comes from, empty where requests go there directly: by its scheme,
// its host, or NO_PROXY. Of a variable that is not valid net/http takes none.
func ProxyOf(endpoint string) (variable string, valid bool) {
	u, err := url.Parse(endpoint)
	if err != nil {
		return "", false
	}
	for _, name := range ProxyVariables[u.Scheme] {
		switch v := os.Getenv(name); {
		case v == "":
			continue
		case !IsProxy(v):
			return name, false
		}
		if proxy, err := proxyFor(&http.Request{URL: u}); err == nil && proxy == nil {
			return "", false
		}
		return name, true
	}
	return "", false
}

// IsProxy tells if a variable of the environment names a proxy.
func IsProxy(v string) bool {
	u, err := url.Parse(v)
	if err == nil && slices.Contains([]string{"http", "https", "socks5", "socks5h"}, u.Scheme) {
		return u.Hostname() != ""
	}
	u, err = url.Parse("http://" + v) // net/http allows that
	return err == nil && u.Hostname() != "" && strings.Trim(u.Path, "/") == ""
}
