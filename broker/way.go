package broker

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"midge/broker/core"
	"midge/broker/transport"
	"midge/conf"
)

// way is how the connections of a configured listener reach MQTT, where that is not
// plainly. A reload may put another in its place for those that come later.
type way struct {
	config   *transport.Config // nil without TLS
	identity identity
	web      *transport.Web   // nil without WebSocket
	proxy    *transport.Proxy // nil without PROXY header
}

// wayMaker makes ways, beside the loop.
type wayMaker struct {
	keys io.Writer // gets the secrets of TLS; nil mostly
	open func(name string) (*transport.Folder, error)
}

func (s *Server) wayMaker() wayMaker {
	m := wayMaker{open: func(name string) (*transport.Folder, error) {
		return transport.OpenFolder(name, s.poll.Post, s.wake, s.served)
	}}
	if s.keyLog != nil {
		m.keys = s.keyLog
	}
	return m
}

// served logs that a file is sent.
func (s *Server) served(name string) {
	s.log.Logf(core.LogDebug, "http serving file \"%s\".", name)
}

// way makes the way of a configured listener; nil for a plain one.
func (m wayMaker) way(c *conf.Config, l *conf.Listener) (*way, error) {
	if !l.TLS.On() && !l.Web.On && l.Proxy.Version == 0 {
		return nil, nil
	}
	w := new(way)
	if v := l.Proxy.Version; v != 0 {
		w.proxy = &transport.Proxy{Version: v}
	}
	if l.Proxy.Version == 2 {
		w.proxy.RequireTLS, w.proxy.RequireCertificate = l.Proxy.RequireTLS, l.TLS.RequireCertificate
		if l.TLS.UseIdentityAsUsername {
			w.identity = commonName
		}
	}
	if l.TLS.On() {
		if err := w.secure(l, m.keys); err != nil {
			return nil, err
		}
	}
	if !l.Web.On {
		return w, nil
	}
	w.web = &transport.Web{Origins: l.Web.Origins, HeadMax: c.PacketBufferSize}
	if name := l.Web.HTTPDir; name != "" {
		var err error
		if w.web.Folder, err = m.open(name); err != nil {
			return nil, conf.Errorf(conf.Exit, "Error: Unable to open http_dir %s: %v", name, plain(err))
		}
	}
	return w, nil
}

// close is for when nobody takes the way any more: who is on it goes on. There may be
// none.
func (w *way) close() {
	if w != nil && w.web != nil && w.web.Folder != nil {
		w.web.Folder.Close()
	}
}

// lead gives an accepted connection its way.
func (s *Server) lead(c *conn, w *way) {
	if w == nil {
		return
	}
	s.hurry(c) // else CONNACK would wait for the acknowledgement of the handshake's end
	c.wire = transport.New(c.Handle, &s.wired.scratch)
	if w.proxy != nil {
		c.wire.Proxy(w.proxy)
	}
	if w.config != nil {
		if s.wired.handshakes == nil {
			s.wired.handshakes = transport.NewHandshakes(s.poll.Post, s.wake)
		}
		c.wire.Secure(s.wired.handshakes, w.config.TLS)
	}
	if w.web != nil {
		c.wire.Web(w.web)
	}
}

// openKeyLog opens the file that gets the secrets of all TLS connections: no symbolic
// link, and nobody else may read it.
func (s *Server) openKeyLog(name string) (err error) {
	if name == "" {
		return nil
	}
	s.keyLog, err = os.OpenFile(name, os.O_WRONLY|os.O_APPEND|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	info, err := s.keyLog.Stat()
	if err == nil && info.Mode().Perm()&0o077 != 0 {
		err = errors.New("others may read it")
	}
	return err
}

// secure fills in what TLS needs. It reads files.
func (w *way) secure(l *conf.Listener, keys io.Writer) (err error) {
	t := &l.TLS
	files := transport.Files{
		Cert: t.Certfile, Key: t.Keyfile, CAFile: t.CAFile, CAPath: t.CAPath, CRLFile: t.CRLFile,
		RequireCertificate: t.RequireCertificate, NoDateChecks: t.DisableClientCertDateChecks,
		Version: t.TLSVersion, Ciphers: t.Ciphers, KeyLog: keys,
	}
	switch {
	case t.UseIdentityAsUsername:
		w.identity = commonName
	case t.UseSubjectAsUsername:
		w.identity = subject
	}
	if w.config, err = files.Load(); err != nil {
		return fmt.Errorf("TLS of the listener %s: %w", l.Name(), err)
	}
	return nil
}
