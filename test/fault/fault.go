// Package fault is a reverse proxy in front of any S3 endpoint that answers some requests as S3 does on its
// worst days. Clients sign for the proxy's own host, which is passed on, so that signatures stay valid.
package fault

import (
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Options describe a proxy. Only Target is required.
type Options struct {
	Target string // URL of the S3 endpoint behind it
	Listen string // default 127.0.0.1:0

	Modes []Mode  // the faults drawn from, all equally likely; default [Faults]
	Rate  float64 // share of the requests that get one, 0 to 1
	Seed  uint64  // the same seed and order of requests gives the same faults

	Match      func(*http.Request) bool // requests that can get a fault; default all
	RetryAfter time.Duration            // sent with 429 and 503, in whole seconds; 0 sends none
	Region     string                   // that of 301; default eu-west-1
	Skew       time.Duration            // how far the Date of TimeTooSkewed is ahead; default 20m
	Pause      time.Duration            // between two pieces of 16 KiB of SlowBody; default 10ms
	Patience   time.Duration            // with the server behind, once it has all of a request; default 10s
	Close      bool                     // a fault that is answered ends its connection, as servers in trouble often do

	Observe func(Request) // called after each request instead of keeping it for Requests; concurrently
}

// Request is one request that has been answered, or deliberately not.
type Request struct {
	Method    string
	Path      string // decoded: /bucket/key
	Query     string
	Header    http.Header
	Size      int64  // bytes of the body that were read
	SHA256    string // of those bytes, in hex
	Mode      Mode
	Forwarded bool  // the server behind the proxy has answered
	Status    int   // of that answer, or of the proxy's own; 0 for none
	Err       error // why the server behind has not answered; the client got a reset

	done bool
}

// Proxy is a running proxy. It is safe for concurrent use.
type Proxy struct {
	URL string // http://host:port

	options Options
	forward *httputil.ReverseProxy
	server  *http.Server
	behind  *http.Transport
	closing chan struct{}
	served  chan struct{}

	mu       sync.Mutex // guards the rest and options' Modes and Rate
	random   *rand.Rand
	script   []Mode
	requests []*Request
}

// Start begins to serve. The caller owns the proxy and has to Close it.
func Start(options Options) (*Proxy, error) {
	target, err := url.Parse(options.Target)
	if err != nil || target.Host == "" {
		return nil, fmt.Errorf("target: want a URL such as http://127.0.0.1:7070, got %q", options.Target)
	}
	if options.Listen == "" {
		options.Listen = "127.0.0.1:0"
	}
	if options.Modes == nil {
		options.Modes = Faults
	}
	if options.Region == "" {
		options.Region = "eu-west-1"
	}
	if options.Skew == 0 {
		options.Skew = 20 * time.Minute
	}
	if options.Pause == 0 {
		options.Pause = 10 * time.Millisecond
	}
	if options.Patience == 0 {
		options.Patience = 10 * time.Second
	}
	listener, err := net.Listen("tcp", options.Listen)
	if err != nil {
		return nil, err
	}
	p := &Proxy{
		URL:     "http://" + listener.Addr().String(),
		options: options,
		behind: &http.Transport{
			DialContext:        dial,
			DisableCompression: true, ExpectContinueTimeout: time.Second, MaxIdleConnsPerHost: 16, ResponseHeaderTimeout: options.Patience,
		},
		closing: make(chan struct{}),
		served:  make(chan struct{}),
		random:  rand.New(rand.NewPCG(options.Seed, 0)),
	}
	silent := log.New(io.Discard, "", 0)
	p.forward = &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = target.Scheme, target.Host
			r.Out.Host = r.In.Host
		},
		Transport: p.behind,
		ErrorLog:  silent,
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			a := w.(*answer)
			a.broken = err
			reset(a.ResponseWriter)
		},
	}
	p.server = &http.Server{Handler: p, ErrorLog: silent}
	go func() {
		defer close(p.served)
		p.server.Serve(listener)
	}()
	return p, nil
}

// Close ends the proxy; requests that hang are reset.
func (p *Proxy) Close() {
	close(p.closing)
	p.server.Close()
	<-p.served
	p.behind.CloseIdleConnections()
}

// Script sets what the next requests get, in the order of their arrival; after them Rate rules again. It
// replaces what is left of an earlier script.
func (p *Proxy) Script(modes ...Mode) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.script = append([]Mode(nil), modes...)
}

// SetRate changes the share of requests that get a fault and, if any are given, the faults drawn from.
func (p *Proxy) SetRate(rate float64, modes ...Mode) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.options.Rate = rate
	if len(modes) > 0 {
		p.options.Modes = append([]Mode(nil), modes...)
	}
}

// Requests returns what has been answered so far, in the order of arrival. A client can see its answer a moment
// before the request is in here.
func (p *Proxy) Requests() []Request {
	p.mu.Lock()
	defer p.mu.Unlock()
	var done []Request
	for _, r := range p.requests {
		if r.done {
			done = append(done, *r)
		}
	}
	return done
}

func (p *Proxy) next(r *http.Request) Mode {
	if p.options.Match != nil && !p.options.Match(r) {
		return Pass
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.script) > 0 {
		mode := p.script[0]
		p.script = p.script[1:]
		return mode
	}
	if p.random.Float64() >= p.options.Rate {
		return Pass
	}
	return p.options.Modes[p.random.IntN(len(p.options.Modes))]
}

// ServeHTTP answers one request.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, controlPath) {
		p.control(w, r)
		return
	}
	header := r.Header.Clone()
	body := &meter{from: r.Body, hash: sha256.New()}
	// A copy: of a request whose Body has been replaced net/http reads what is left before it sends the answer.
	r = r.WithContext(r.Context())
	r.Body = body
	mode := p.next(r)
	answer := &answer{ResponseWriter: w}
	seen := &Request{Method: r.Method, Path: r.URL.Path, Query: r.URL.RawQuery, Header: header, Mode: mode}
	if p.options.Observe == nil {
		p.mu.Lock()
		p.requests = append(p.requests, seen)
		p.mu.Unlock()
	}
	forwarded := false
	// Deferred: the reverse proxy panics when the server behind breaks off in the middle of an answer.
	defer func() {
		p.mu.Lock()
		seen.Size, seen.SHA256 = body.read()
		seen.Forwarded, seen.Status, seen.Err, seen.done = forwarded, answer.status, answer.broken, true
		p.mu.Unlock()
		if p.options.Observe != nil {
			p.options.Observe(*seen)
		}
	}()
	forwarded = p.serve(answer, r, mode)
}

// serve reports whether the request reached the server behind.
func (p *Proxy) serve(w *answer, r *http.Request, mode Mode) bool {
	switch mode {
	case Pass:
		return p.pass(w, r)
	case SlowBody:
		r.Body = &slow{r.Body, r.Context(), p.options.Pause}
		return p.pass(w, r)
	case ResetBefore:
		reset(w.ResponseWriter)
	case ResetMiddle:
		io.CopyN(io.Discard, r.Body, max(1, r.ContentLength/2))
		reset(w.ResponseWriter)
	case LostAnswer:
		w.withhold = true
		forwarded := p.pass(w, r)
		if forwarded {
			reset(w.ResponseWriter)
		}
		return forwarded
	case Truncate:
		sum := md5.New()
		io.CopyN(sum, r.Body, r.ContentLength/2)
		w.Header().Set("ETag", fmt.Sprintf(`"%x"`, sum.Sum(nil)))
		w.Header().Set("Connection", "close")
		w.WriteHeader(http.StatusOK)
	case Lie:
		io.Copy(io.Discard, r.Body)
		p.last(w)
		w.Header().Set("ETag", `W/"2-x"`)
		w.WriteHeader(http.StatusOK)
	case Hang:
		// The server notices that the client is gone only once the body has been read.
		io.Copy(io.Discard, r.Body)
		select {
		case <-r.Context().Done():
		case <-p.closing:
			reset(w.ResponseWriter)
		}
	default:
		p.refuse(w, r, mode)
	}
	return false
}

// last marks an answer as the last one on its connection, where Options say so.
func (p *Proxy) last(w http.ResponseWriter) {
	if p.options.Close {
		w.Header().Set("Connection", "close")
	}
}

func (p *Proxy) pass(w *answer, r *http.Request) bool {
	p.forward.ServeHTTP(w, r)
	return w.broken == nil
}

// dial makes connections on which a write to a server that has already answered and closed counts as done: so
// the proxy finds that answer, which net/http would not look for.
func dial(ctx context.Context, network, address string) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return answered{conn}, nil
}

type answered struct{ net.Conn }

func (c answered) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
		return len(p), nil
	}
	return n, err
}

// reset drops the connection as a crashed host would: the client sees "connection reset by peer".
func reset(w http.ResponseWriter) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		tcp.SetLinger(0)
	}
	conn.Close()
}

// answer remembers the status, and keeps the answer from the client if it is to be withheld.
type answer struct {
	http.ResponseWriter
	status   int
	withhold bool
	withheld http.Header
	broken   error // why the server behind has not answered
}

func (a *answer) Header() http.Header {
	if !a.withhold {
		return a.ResponseWriter.Header()
	}
	if a.withheld == nil {
		a.withheld = http.Header{}
	}
	return a.withheld
}

func (a *answer) WriteHeader(status int) {
	if status >= 200 {
		a.status = status
	}
	if !a.withhold {
		a.ResponseWriter.WriteHeader(status)
	}
}

func (a *answer) Write(p []byte) (int, error) {
	if a.withhold {
		return len(p), nil
	}
	return a.ResponseWriter.Write(p)
}

// meter hashes a body as it is read. The reverse proxy may still read it while the answer is already there.
type meter struct {
	from io.ReadCloser

	mu   sync.Mutex
	hash hash.Hash
	size int64
}

func (m *meter) Read(p []byte) (int, error) {
	n, err := m.from.Read(p)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.hash.Write(p[:n])
	m.size += int64(n)
	return n, err
}

func (m *meter) Close() error { return m.from.Close() }

func (m *meter) read() (int64, string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.size, hex.EncodeToString(m.hash.Sum(nil))
}

type slow struct {
	io.ReadCloser
	ctx   context.Context
	pause time.Duration
}

func (s *slow) Read(p []byte) (int, error) {
	select {
	case <-time.After(s.pause):
	case <-s.ctx.Done():
		return 0, s.ctx.Err()
	}
	return s.ReadCloser.Read(p[:min(len(p), 16<<10)])
}

// controlPath cannot be an S3 bucket: their names have at least three characters.
const controlPath = "/-/"

// control lets a shell change the faults while the proxy runs: PUT /-/faults?rate=0.5&modes=reset,500 or ?script=hang,pass.
func (p *Proxy) control(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	modes, err := ParseModes(query.Get("modes"))
	script, err2 := ParseModes(query.Get("script"))
	rate, err3 := strconv.ParseFloat(query.Get("rate"), 64)
	for _, err := range []error{err, err2} {
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
	}
	if query.Has("rate") {
		if err3 != nil {
			http.Error(w, "rate: want a number from 0 to 1", http.StatusBadRequest)
			return
		}
		p.SetRate(rate, modes...)
	}
	if query.Has("script") {
		p.Script(script...)
	}
}
