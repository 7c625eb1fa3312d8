package broker

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"midge/broker/transport"
	"midge/conf"
)

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
