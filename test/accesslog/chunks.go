package accesslog

import (
	"bufio"
	"cmp"
	"io"

	"out_amberflo/test/encode"
)

// Chunks say how events are cut into chunks. A chunk ends at whichever bound comes first.
type Chunks struct {
	Tag     string // app.access if empty
	Records int    // at most so many a chunk; 0 sets no bound
	Bytes   int    // ends at so many bytes or more; 2,000,000 if 0, where Fluent Bit ends its own
}

// WriteChunks writes the same events as WriteLines does, as a stream of Fluent Bit chunks for the
// test host. Each is framed by its tag and its bytes, both with their length in 4 bytes, big-endian,
// before them.
func WriteChunks(w io.Writer, opt Options, c Chunks) (Truth, error) {
	c.Tag = cmp.Or(c.Tag, "app.access")
	c.Bytes = cmp.Or(c.Bytes, 2_000_000)
	out := bufio.NewWriterSize(w, 1<<16)
	var chunk []byte
	records := 0
	flush := func() error {
		if records == 0 {
			return nil
		}
		if _, err := out.Write(encode.FrameHead(nil, c.Tag, len(chunk))); err != nil {
			return err
		}
		_, err := out.Write(chunk)
		chunk, records = chunk[:0], 0
		return err
	}
	truth, err := generate(opt, func(e *event) error {
		chunk = e.appendMsgpack(chunk)
		if records++; records == c.Records || len(chunk) >= c.Bytes {
			return flush()
		}
		return nil
	})
	if err != nil {
		return truth, err
	}
	if err := flush(); err != nil {
		return truth, err
	}
	return truth, out.Flush()
}
