package transport

import (
	"bufio"
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"net/netip"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
)

// Web says how the connections of a listener speak HTTP and WebSocket.
type Web struct {
	Origins []string // that pages may have; none: any
	HeadMax int      // bytes of a request's head
	Folder  *Folder  // whose files are served to who wants no WebSocket; nil: nothing
}

// headersMax is how many headers a request may have.
const headersMax = 100

// request is the head of an HTTP request.
type request struct {
	method, target string
	header         textproto.MIMEHeader
}

// errNoHTTP is the end of a connection that begins with something else.
var errNoHTTP = errors.New("HTTP: no request")

// ask takes in bytes of the request, and answers it when its head is whole. It
// returns how many of buf it used.
func (w *web) ask(buf []byte) (used int, err error) {
	if len(w.request) == 0 && (buf[0] < 'A' || buf[0] > 'Z') {
		w.stage, w.failed = over, errNoHTTP
		return 0, w.failed
	}
	old := len(w.request)
	w.request = append(w.request, buf[:min(len(buf), w.config.HeadMax+1-old)]...)
	const end = "\r\n\r\n"
	from := max(0, old-len(end)+1)
	i := bytes.Index(w.request[from:], []byte(end))
	if i < 0 {
		if len(w.request) > w.config.HeadMax {
			return 0, w.refuse(431, "Request Header Fields Too Large", "")
		}
		return len(buf), nil
	}
	size := from + i + len(end)
	head := w.request[:size]
	w.request = nil
	r, ok := parseRequest(head)
	if !ok {
		return 0, w.refuse(400, "Bad Request", "")
	}
	return size - old, w.answer(r)
}

// parseRequest reads the head of a request.
func parseRequest(head []byte) (*request, bool) {
	line, _, _ := bytes.Cut(head, []byte("\r\n"))
	words := strings.Split(string(line), " ")
	if len(words) != 3 || !strings.HasPrefix(words[2], "HTTP/1.") || !strings.HasPrefix(words[1], "/") {
		return nil, false
	}
	if bytes.Count(head, []byte("\n")) > headersMax+2 {
		return nil, false
	}
	header, err := textproto.NewReader(bufio.NewReader(bytes.NewReader(head[len(line)+2:]))).ReadMIMEHeader()
	return &request{words[0], words[1], header}, err == nil
}

// answer answers a request.
func (w *web) answer(r *request) error {
	if !has(r.header["Upgrade"], "websocket") {
		return w.answerPlain(r)
	}
	key, err := base64.StdEncoding.DecodeString(r.header.Get("Sec-Websocket-Key"))
	protocol := subprotocol(r.header["Sec-Websocket-Protocol"])
	switch {
	case r.method != "GET", err != nil || len(key) != 16, !has(r.header["Connection"], "upgrade"):
		return w.refuse(400, "Bad Request", "")
	case r.header.Get("Sec-Websocket-Version") != "13":
		return w.refuse(426, "Upgrade Required", "Sec-WebSocket-Version: 13\r\n")
	case protocol == "":
		return w.refuse(400, "Bad Request", "")
	case !w.allowed(r.header["Origin"]):
		w.refuse(403, "Forbidden", "")
		w.failed = errors.New("non-matching http origin")
		return w.failed
	}
	sum := sha1.Sum([]byte(r.header.Get("Sec-Websocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	w.own = append(w.own, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "+
		base64.StdEncoding.EncodeToString(sum[:])+"\r\nSec-WebSocket-Protocol: "+protocol+"\r\n\r\n"...)
	w.forward = forwarded(r.header.Get("X-Forwarded-For"))
	w.stage = talking
	return nil
}

// has tells whether one of the comma-separated lists has the word, in any case.
func has(lists []string, word string) bool {
	for _, l := range lists {
		for _, w := range strings.Split(l, ",") {
			if strings.EqualFold(strings.TrimSpace(w), word) {
				return true
			}
		}
	}
	return false
}

// subprotocol is the first of those the client offers that is MQTT; "" if none is.
func subprotocol(offers []string) string {
	for _, l := range offers {
		for _, p := range strings.Split(l, ",") {
			if p = strings.TrimSpace(p); p == "mqtt" || p == "mqttv3.1" {
				return p
			}
		}
	}
	return ""
}

// allowed tells whether a page of that origin may connect. Who has none is no page.
func (w *web) allowed(origin []string) bool {
	if len(w.config.Origins) == 0 || len(origin) == 0 {
		return true
	}
	return len(origin) == 1 && slices.Contains(w.config.Origins, origin[0])
}

// forwarded is the address of the first of those a request has passed.
func forwarded(list string) netip.Addr {
	first, _, _ := strings.Cut(list, ",")
	a, err := netip.ParseAddr(strings.TrimSpace(first))
	if err != nil {
		return netip.Addr{}
	}
	return a.Unmap().WithZone("")
}

// refuse answers with an error, which ends the connection.
func (w *web) refuse(status int, text, headers string) error {
	w.own = appendAnswer(w.own, status, text, headers, "text/plain; charset=utf-8", int64(len(text)+1))
	w.own = append(append(w.own, text...), '\n')
	w.stage, w.failed = over, errAnswered(status)
	return w.failed
}

// appendAnswer appends the head of an answer that ends the connection.
func appendAnswer(out []byte, status int, text, headers, kind string, length int64) []byte {
	out = append(append(append(out, "HTTP/1.1 "...), strconv.Itoa(status)...), ' ')
	out = append(append(out, text...), "\r\nConnection: close\r\nX-Content-Type-Options: nosniff\r\n"...)
	out = append(append(out, headers...), "Content-Type: "+kind+"\r\nContent-Length: "...)
	return append(strconv.AppendInt(out, length, 10), "\r\n\r\n"...)
}

// answerPlain answers a request that wants no WebSocket.
func (w *web) answerPlain(r *request) error {
	switch {
	case w.config.Folder == nil:
		return w.refuse(426, "Upgrade Required", "Upgrade: websocket\r\n")
	case r.method != "GET" && r.method != "HEAD":
		return w.refuse(405, "Method Not Allowed", "Allow: GET, HEAD\r\n")
	}
	return w.config.Folder.serve(w, r)
}
