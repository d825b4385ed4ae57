package conf

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"out_amberflo/test/encode"
)

// suggestion is a mapping that stands in the comments of an example, for a log that is not the example's.
type suggestion struct {
	name, conf, tag string
	records         []string
	want            []string // without unique id
}

var suggestions = []suggestion{
	{"Envoy Gateway's default JSON", "envoy.conf", "envoy.access", []string{
		`{":authority":"acme.example.com","bytes_received":154,"bytes_sent":5120,"connection_termination_details":null,"downstream_remote_address":"[2001:db8::7]:51234","duration":24,"method":"POST","protocol":"HTTP/2","requested_server_name":null,"response_code":201,"response_code_details":"via_upstream","response_flags":"-","route_name":"items","start_time":"2026-11-20T10:00:00.310Z","upstream_host":"10.0.0.1:80","user-agent":"say \"hi\"","x-envoy-origin-path":"/v1/items","x-envoy-upstream-service-time":null,"x-forwarded-for":"192.0.2.10","x-request-id":"cc21d9b0-cf5c-432b-8c7e-98aeb7988cd2"}`,
		`{":authority":null,"bytes_received":0,"bytes_sent":11,"duration":0,"method":null,"protocol":"HTTP/1.1","response_code":400,"response_flags":"DPE","start_time":"2026-11-20T10:00:01.000Z"}`,
	}, []string{
		`{"customerId":"acme.example.com","meterApiName":"ApiCalls","dimensions":{"method":"POST","status":"201"},"meterValue":1,"meterTimeInMillis":1795168800310,"uniqueId":"(generated)"}`,
		`{"customerId":"acme.example.com","meterApiName":"BytesIn","dimensions":{"method":"POST","status":"201"},"meterValue":154,"meterTimeInMillis":1795168800310,"uniqueId":"(generated)"}`,
		`{"customerId":"acme.example.com","meterApiName":"BytesOut","dimensions":{"method":"POST","status":"201"},"meterValue":5120,"meterTimeInMillis":1795168800310,"uniqueId":"(generated)"}`,
	}},
	// CASES A4
	{"nginx's times of several servers", "nginx.conf", "nginx.access", []string{
		`{"user":"acme","method":"GET","status":"200","size":"7","time":"20/Nov/2026:10:00:00 +0000","upstream_response_time":"0.004, 0.012"}`,
		`{"user":"acme","method":"GET","status":"502","size":"8","time":"20/Nov/2026:10:00:01 +0000","upstream_response_time":"0.1 : 0.2"}`,
		`{"user":"acme","method":"GET","status":"304","size":"0","time":"20/Nov/2026:10:00:02 +0000","upstream_response_time":"-"}`,
	}, []string{
		`{"customerId":"acme","meterApiName":"ApiCalls","dimensions":{"method":"GET","status":"200"},"meterValue":1,"meterTimeInMillis":1795168800000,"uniqueId":"(generated)"}`,
		`{"customerId":"acme","meterApiName":"BytesOut","dimensions":{"method":"GET","status":"200"},"meterValue":7,"meterTimeInMillis":1795168800000,"uniqueId":"(generated)"}`,
		`{"customerId":"acme","meterApiName":"UpstreamSeconds","dimensions":{"method":"GET","status":"200"},"meterValue":0.016,"meterTimeInMillis":1795168800000,"uniqueId":"(generated)"}`,
		`{"customerId":"acme","meterApiName":"ApiCalls","dimensions":{"method":"GET","status":"502"},"meterValue":1,"meterTimeInMillis":1795168801000,"uniqueId":"(generated)"}`,
		`{"customerId":"acme","meterApiName":"BytesOut","dimensions":{"method":"GET","status":"502"},"meterValue":8,"meterTimeInMillis":1795168801000,"uniqueId":"(generated)"}`,
		`{"customerId":"acme","meterApiName":"UpstreamSeconds","dimensions":{"method":"GET","status":"502"},"meterValue":0.3,"meterTimeInMillis":1795168801000,"uniqueId":"(generated)"}`,
		`{"customerId":"acme","meterApiName":"ApiCalls","dimensions":{"method":"GET","status":"304"},"meterValue":1,"meterTimeInMillis":1795168802000,"uniqueId":"(generated)"}`,
		`{"customerId":"acme","meterApiName":"BytesOut","dimensions":{"method":"GET","status":"304"},"meterValue":0,"meterTimeInMillis":1795168802000,"uniqueId":"(generated)"}`,
	}},
}

// suggested is a line of a mapping in a comment.
var suggested = regexp.MustCompile(`(?m)^ *#     ([a-z_]+ +\S.*)$`)

func TestWhatTheCommentsSuggestIsRight(t *testing.T) {
	for _, test := range suggestions {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			text := string(read(t, root, "conf", test.conf))
			head, output, _ := strings.Cut(text, "\n[OUTPUT]\n")
			mappings := suggested.FindAllStringSubmatch(text, -1)
			if len(mappings) == 0 {
				t.Fatalf("no mapping in the comments of conf/%s", test.conf)
			}
			for _, m := range mappings {
				key, _, _ := strings.Cut(m[1], " ")
				output = regexp.MustCompile(`(?m)^    `+key+` .*\n`).ReplaceAllString(output, "") + "    " + m[1] + "\n"
			}
			s := newSite(t)
			s.adapt("suggested.conf", head+"\n[OUTPUT]\n"+output)
			var chunk []byte
			for _, record := range test.records {
				chunk = encode.Event(chunk, time.Now(), nil, decode(t, []byte(record)))
			}
			if _, err := s.viaHost("suggested.conf", test.tag, chunk); err != nil {
				t.Fatal(err)
			}
			if got := s.records(); !slices.Equal(got, test.want) {
				t.Errorf("records\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(test.want, "\n"))
			}
		})
	}
}
