package login

import (
	"container/list"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"

	"golang.org/x/sys/unix"
)

// pool verifies passwords beside the loop, on a few threads of low priority. What
// waits and what it needs are bounded.
type pool struct {
	answer func(*attempt) // called by a worker when a.right is known

	mu      sync.Mutex
	work    *sync.Cond // there is something to do, memory to do it, or it is over
	queue   list.List  // of *attempt
	places  map[*attempt]*list.Element
	bytes   int // of names and passwords in the queue
	memory  int // in use by those being verified
	garbage int // left behind by those that are done, in bytes, roughly
	workers int // to be started with the first login; 0 when they are
	over    bool
}

// Limits of the pool, in logins and bytes.
const (
	queuedMax = 1000
	memoryMax = 256 << 20 // argon2id's need of those verified at once

	workerNice = 10

	// Garbage of so many bytes is collected before more is made, and given back when
	// there is nothing to do, unless the heap is so large that looking through it
	// costs more than it brings.
	garbageMax = 32 << 20
	heapMax    = 256 << 20
)

func newPool(workers int, answer func(*attempt)) *pool {
	p := &pool{answer: answer, places: make(map[*attempt]*list.Element), workers: workers}
	p.work = sync.NewCond(&p.mu)
	return p
}

// poolWorkers leaves a processor to the loop.
func poolWorkers() int { return max(1, runtime.NumCPU()-1) }

// submit queues a login, and says whether there was room.
func (p *pool) submit(a *attempt) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over || p.queue.Len() >= queuedMax || p.bytes+a.size() > passwordsMax {
		return false
	}
	p.places[a] = p.queue.PushBack(a)
	p.bytes += a.size()
	for ; p.workers > 0; p.workers-- {
		go p.run()
	}
	p.work.Signal()
	return true
}

// cancel takes a login out of the queue. It is false when it is not there any more:
// then the answer follows.
func (p *pool) cancel(a *attempt) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := p.places[a]
	if e != nil {
		p.remove(e)
	}
	return e != nil
}

func (p *pool) remove(e *list.Element) *attempt {
	a := p.queue.Remove(e).(*attempt)
	delete(p.places, a)
	p.bytes -= a.size()
	return a
}

// close ends the workers as soon as they are done with what they do.
func (p *pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = true
	p.work.Broadcast()
}

// run is a worker. Its thread has a low priority, so that the loop comes first.
func (p *pool) run() {
	runtime.LockOSThread() // for good: a thread with this priority is of no other use
	unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), workerNice)
	for a := p.take(); a != nil; a = p.take() {
		right := a.hash.Verify(a.password) // of an unknown user too, which takes as long
		a.right = right && a.known
		p.give(a)
		p.answer(a)
	}
}

// take waits for a login to verify; nil is the end. What needs much memory waits
// until there is enough.
func (p *pool) take() *attempt {
	p.mu.Lock()
	defer p.mu.Unlock()
	for !p.over {
		e := p.queue.Front()
		if e != nil {
			need := e.Value.(*attempt).hash.Memory()
			if p.memory == 0 || p.memory+need <= memoryMax {
				p.memory += need
				return p.remove(e)
			}
		}
		p.work.Wait()
	}
	return nil
}

// give gives back what verifying a login took.
func (p *pool) give(a *attempt) {
	p.mu.Lock()
	need := a.hash.Memory()
	p.memory -= need
	p.garbage += need
	tidy, idle := p.garbage >= garbageMax, p.queue.Len() == 0 && p.memory == 0
	if tidy {
		p.garbage = 0
	}
	p.work.Broadcast()
	p.mu.Unlock()
	switch {
	case !tidy || heapSize() >= heapMax:
	case idle:
		debug.FreeOSMemory()
	default:
		runtime.GC()
	}
}

// heapSize is what the heap's objects take, in bytes.
func heapSize() uint64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
