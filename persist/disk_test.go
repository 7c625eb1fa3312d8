package persist

import (
	"errors"
	"io"
	"io/fs"
	"maps"
	"slices"
	"sync"
)

// memory is a Disk that can fail at its n-th call, and that knows, after each, what
// would be left after a loss of power: of a file what was synced, and any number of
// the bytes that were written since; of names those that were synced.
type memory struct {
	mu      sync.Mutex
	names   map[string]*inode // as the process sees them
	durable map[string]*inode // as of the last Sync of the folder
	calls   int
	failAt  int    // the call that fails; 0: none
	failFor int    // how many fail from it on; 0: one
	err     error  // what with
	dead    bool   // the process is killed: nothing works any more
	short   bool   // a Write that fails writes half
	tap     func() // called before each call, with the disk locked
}

// inode is a file's contents.
type inode struct {
	data   []byte
	synced int // bytes of it
}

var (
	errDisk = errors.New("input/output error")
	errDead = errors.New("the process is dead")
)

func newMemory() *memory { return &memory{names: map[string]*inode{}, durable: map[string]*inode{}} }

// call counts one, and says whether it fails.
func (m *memory) call() error {
	if m.dead {
		return errDead
	}
	if m.tap != nil {
		m.tap()
	}
	m.calls++
	if m.failAt > 0 && m.calls >= m.failAt && m.calls < m.failAt+max(1, m.failFor) {
		if m.err != nil {
			return m.err
		}
		return errDisk
	}
	return nil
}

// lock takes the disk for one call.
func (m *memory) lock() func() {
	m.mu.Lock()
	return m.mu.Unlock
}

func (m *memory) Create(name string) (File, error) {
	defer m.lock()()
	if err := m.call(); err != nil {
		return nil, err
	}
	m.names[name] = new(inode)
	return &handle{disk: m, node: m.names[name]}, nil
}

func (m *memory) Open(name string) (File, error) {
	defer m.lock()()
	if err := m.call(); err != nil {
		return nil, err
	}
	n := m.names[name]
	if n == nil {
		return nil, fs.ErrNotExist
	}
	return &handle{disk: m, node: n}, nil
}

func (m *memory) Rename(from, to string) error {
	defer m.lock()()
	if err := m.call(); err != nil {
		return err
	}
	n := m.names[from]
	if n == nil {
		return fs.ErrNotExist
	}
	delete(m.names, from)
	m.names[to] = n
	return nil
}

func (m *memory) Remove(name string) error {
	defer m.lock()()
	if err := m.call(); err != nil {
		return err
	}
	if m.names[name] == nil {
		return fs.ErrNotExist
	}
	delete(m.names, name)
	return nil
}

func (m *memory) List() ([]string, error) {
	defer m.lock()()
	if err := m.call(); err != nil {
		return nil, err
	}
	return slices.Sorted(maps.Keys(m.names)), nil
}

func (m *memory) Sync() error {
	defer m.lock()()
	if err := m.call(); err != nil {
		return err
	}
	m.durable = maps.Clone(m.names)
	return nil
}

// kill ends the process that uses the disk, and gives the disk that the next one
// finds, with all that was written. What was not synced a loss of power still takes.
func (m *memory) kill() *memory {
	defer m.lock()()
	m.dead = true
	return m.killed()
}

// lose is kill with a loss of power: what was not synced is lost, but for the first
// more bytes of each file.
func (m *memory) lose(more int) *memory {
	defer m.lock()()
	m.dead = true
	return m.lost(more)
}

func (m *memory) lost(more int) *memory {
	out := newMemory()
	for name, n := range m.durable {
		data := slices.Clone(n.data[:min(len(n.data), n.synced+more)])
		out.names[name] = &inode{data: data, synced: len(data)}
	}
	out.durable = maps.Clone(out.names)
	return out
}

// now is a disk like this one at this moment, for another to use.
func (m *memory) now() *memory {
	defer m.lock()()
	return m.killed()
}

func (m *memory) killed() *memory {
	out, copies := newMemory(), map[*inode]*inode{}
	copied := func(names map[string]*inode) map[string]*inode {
		to := map[string]*inode{}
		for name, n := range names {
			if copies[n] == nil {
				copies[n] = &inode{data: slices.Clone(n.data), synced: n.synced}
			}
			to[name] = copies[n]
		}
		return to
	}
	out.names, out.durable = copied(m.names), copied(m.durable)
	return out
}

// handle is an open file.
type handle struct {
	disk *memory
	node *inode
	at   int
}

func (h *handle) Read(b []byte) (int, error) {
	defer h.disk.lock()()
	if err := h.disk.call(); err != nil {
		return 0, err
	}
	n := copy(b, h.node.data[h.at:])
	h.at += n
	if n == 0 && len(b) > 0 {
		return 0, io.EOF
	}
	return n, nil
}

func (h *handle) Write(b []byte) (int, error) {
	defer h.disk.lock()()
	if err := h.disk.call(); err != nil {
		if h.disk.dead || !h.disk.short {
			return 0, err
		}
		h.node.data = append(h.node.data, b[:len(b)/2]...)
		return len(b) / 2, err
	}
	h.node.data = append(h.node.data, b...)
	return len(b), nil
}

func (h *handle) Sync() error {
	defer h.disk.lock()()
	if err := h.disk.call(); err != nil {
		return err
	}
	h.node.synced = len(h.node.data)
	return nil
}

func (h *handle) Size() (int64, error) {
	defer h.disk.lock()()
	if err := h.disk.call(); err != nil {
		return 0, err
	}
	return int64(len(h.node.data)), nil
}

func (h *handle) Close() error {
	defer h.disk.lock()()
	return h.disk.call()
}
