package transport

import (
	"errors"
	"io"
	"net/url"
	"os"
	"path"
	"strings"
	"syscall"
)

// Folder serves the files of a folder over HTTP. They are read beside the loop, a
// piece at a time, the next one when the client has taken the last. No request leads
// out of the folder, by a symbolic link neither; a folder in it is its index.html.
type Folder struct {
	root   *os.Root
	post   func(func())
	notify func(*Conn)
	served func(name string)
	places chan struct{} // for those that read
	busy   int           // requests under way
	users  int           // connections that may ask for files
	over   bool          // and there are to be no more of them
}

// Limits. Who takes a file slowly, or not at all, holds a descriptor and a piece of it:
// there are so many of these, and others are told to come later.
const (
	readersMax  = 8        // files read at once
	pieceSize   = 64 << 10 // bytes
	requestsMax = 128
)

// OpenFolder opens a folder, which must be there. post runs a function on the loop;
// notify is called there when Unwrap and Write are to be called, and served with
// each file that is sent.
func OpenFolder(name string, post func(func()), notify func(*Conn), served func(name string)) (*Folder, error) {
	root, err := os.OpenRoot(name)
	if err != nil {
		return nil, err
	}
	return &Folder{root: root, post: post, notify: notify, served: served, places: make(chan struct{}, readersMax)}, nil
}

// Close closes the folder, as soon as no connection has it any more. It is called on
// the loop.
func (f *Folder) Close() {
	f.over = true
	f.closeUnused()
}

func (f *Folder) closeUnused() {
	if f.over && f.users == 0 {
		f.root.Close()
	}
}

// download is a file on its way.
type download struct {
	folder  *Folder
	file    *os.File
	left    int64 // bytes to be read
	reading bool
}

// beside works beside the loop, and then does what work says there.
func (f *Folder) beside(w *web, work func() (then func())) {
	go func() {
		f.places <- struct{}{}
		then := work()
		<-f.places
		f.post(func() {
			then()
			f.notify(w.conn)
		})
	}()
}

// serve answers a request for a file.
func (f *Folder) serve(w *web, r *request) error {
	if f.busy >= requestsMax {
		return w.refuse(503, "Service Unavailable", "Retry-After: 1\r\n")
	}
	f.busy++
	w.stage = answering
	name, ok := localName(r.target)
	if !ok {
		name = "\x00" // is nowhere
	}
	f.beside(w, func() func() {
		file, full, length, err := f.open(name)
		return func() { f.opened(w, r, file, full, length, err) }
	})
	return nil
}

// localName is the name that a request's target has in the folder.
func localName(target string) (string, bool) {
	target, _, _ = strings.Cut(target, "?")
	name, err := url.PathUnescape(target)
	if err != nil || strings.ContainsAny(name, "\x00\\") {
		return "", false
	}
	name = strings.TrimPrefix(path.Clean("/"+name), "/")
	if name == "" {
		name = "."
	}
	return name, true
}

var errNoFile = errors.New("no regular file")

// open opens a file, or a folder's index.html. It does not wait for a pipe.
func (f *Folder) open(name string) (file *os.File, full string, length int64, err error) {
	for range 2 {
		if file, err = f.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0); err != nil {
			return nil, "", 0, err
		}
		info, err := file.Stat()
		switch {
		case err == nil && info.Mode().IsRegular():
			return file, name, info.Size(), nil
		case err == nil && info.IsDir():
			name = path.Join(name, "index.html")
		}
		file.Close()
	}
	return nil, "", 0, errNoFile
}

// opened begins the answer.
func (f *Folder) opened(w *web, r *request, file *os.File, name string, length int64, err error) {
	if w.stage != answering {
		f.busy--
		if file != nil {
			file.Close()
		}
		return
	}
	if err != nil {
		f.busy--
		w.refuse(404, "Not Found", "")
		return
	}
	if f.served != nil {
		f.served(name)
	}
	w.own = appendAnswer(w.own, 200, "OK", "", contentType(name), length)
	w.download = &download{folder: f, file: file, left: length}
	if r.method == "HEAD" {
		w.download.left = 0
	}
}

// goOn has the next piece of the file read, once the last is written.
func (w *web) goOn() {
	d := w.download
	if d == nil || d.reading || len(w.own) > 0 {
		return
	}
	if d.left == 0 {
		w.endDownload(errAnswered(200))
		d.folder.post(func() { d.folder.notify(w.conn) })
		return
	}
	d.reading = true
	d.folder.beside(w, func() func() {
		buf := make([]byte, min(d.left, pieceSize))
		n, err := io.ReadFull(d.file, buf)
		return func() { d.read(w, buf[:n], err) }
	})
}

func (d *download) read(w *web, piece []byte, err error) {
	d.reading = false
	switch {
	case w.download != d: // nobody waits for it any more
		d.file.Close()
	case err != nil:
		w.endDownload(errors.New("HTTP: a file could not be read"))
	default:
		w.own = piece
		d.left -= int64(len(piece))
	}
}

func (w *web) endDownload(err error) {
	w.failed = err
	w.drop()
}

// drop ends what runs beside the loop for w.
func (w *web) drop() {
	w.stage = over
	if d := w.download; d != nil {
		w.download = nil
		d.folder.busy--
		if !d.reading {
			d.file.Close()
		}
	}
}

// leave is for when the connection asks for nothing any more.
func (w *web) leave() {
	if f := w.config.Folder; f != nil && !w.gone {
		f.users--
		f.closeUnused()
	}
	w.gone = true
}

// contentType is the kind of a file by its name.
func contentType(name string) string {
	switch strings.ToLower(path.Ext(name)) {
	case ".html", ".htm":
		return "text/html; charset=utf-8"
	case ".js", ".mjs":
		return "text/javascript; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".json", ".map":
		return "application/json"
	case ".txt", ".md":
		return "text/plain; charset=utf-8"
	case ".xml":
		return "application/xml"
	case ".svg":
		return "image/svg+xml"
	case ".png":
		return "image/png"
	case ".jpg", ".jpeg":
		return "image/jpeg"
	case ".gif":
		return "image/gif"
	case ".webp":
		return "image/webp"
	case ".ico":
		return "image/x-icon"
	case ".woff":
		return "font/woff"
	case ".woff2":
		return "font/woff2"
	case ".wasm":
		return "application/wasm"
	case ".pdf":
		return "application/pdf"
	}
	return "application/octet-stream"
}
