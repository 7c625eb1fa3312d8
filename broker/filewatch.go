package broker

import (
	"maps"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"
)

// stamp tells a file from what it was before. The zero stamp is of no file.
type stamp struct {
	inode      uint64
	size       int64
	sec, nanos int64 // of the last change
}

// stampOf looks at a file, or what a symbolic link leads to.
func stampOf(name string) stamp {
	info, err := os.Stat(name)
	if err != nil {
		return stamp{}
	}
	s := stamp{size: info.Size(), sec: info.ModTime().Unix(), nanos: int64(info.ModTime().Nanosecond())}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		s.inode = uint64(st.Ino)
	}
	return s
}

// fileWatch looks at files every so often, beside the loop, and tells of those that are
// not the ones in force any more. Only one that two looks find the same is told of, for
// it may be half written; and only once, for it may be no good.
type fileWatch struct {
	tell func(names []string) // called on the watch's goroutine

	mu    sync.Mutex
	files map[string]*watched
	every time.Duration // 0: never
	wake  chan struct{} // every has changed
	over  bool
}

// watched is what is known of a file.
type watched struct{ inForce, last, told stamp }

func newFileWatch(tell func([]string)) *fileWatch {
	return &fileWatch{tell: tell, files: make(map[string]*watched), wake: make(chan struct{}, 1)}
}

// set says which files are in force. The stamps are from before they were read. The
// goroutine is started when first needed.
func (w *fileWatch) set(files map[string]stamp, every time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	first := w.every == 0
	w.every = every
	clear(w.files)
	for name, s := range files {
		w.files[name] = &watched{inForce: s, last: s, told: s}
	}
	if every > 0 && first {
		go w.run()
	} else {
		w.rouse()
	}
}

// failed says that these were read and are no good.
func (w *fileWatch) failed(files map[string]stamp) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for name, s := range files {
		if f := w.files[name]; f != nil {
			f.told = s
		}
	}
}

// close ends the goroutine.
func (w *fileWatch) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over = true
	w.rouse()
}

func (w *fileWatch) rouse() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *fileWatch) run() {
	for {
		every, on := w.interval()
		if !on {
			return
		}
		select {
		case <-time.After(every):
			if names := w.look(); len(names) > 0 {
				w.tell(names)
			}
		case <-w.wake:
		}
	}
}

// interval is the time between two looks; on is false when there is to be none.
func (w *fileWatch) interval() (every time.Duration, on bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over {
		w.every = 0
	}
	return w.every, w.every > 0
}

// look finds the files that changed and hold still. The disk is asked without the lock,
// for it may take its time.
func (w *fileWatch) look() (changed []string) {
	w.mu.Lock()
	names := slices.Sorted(maps.Keys(w.files))
	w.mu.Unlock()
	for _, name := range names {
		if w.compare(name, stampOf(name)) {
			changed = append(changed, name)
		}
	}
	return changed
}

// compare takes in what a file is like now, and says whether to tell of it.
func (w *fileWatch) compare(name string, now stamp) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	f := w.files[name]
	if f == nil {
		return false
	}
	still := f.last == now
	f.last = now
	if !still || now == f.inForce || now == f.told {
		return false
	}
	f.told = now
	return true
}
