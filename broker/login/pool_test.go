package login

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"midge/auth"
)

func hashOf(t testing.TB, kind auth.Kind, cost int) auth.Hash {
	t.Helper()
	h, err := auth.MakeHash(kind, []byte("secret"), cost)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// TestPool: answers come, to all that are not taken back, and the queue is bounded.
func TestPool(t *testing.T) {
	answers := make(chan *attempt, 2*queuedMax)
	begin := make(chan bool)
	nice := make(chan int, 1)
	p := newPool(1, nil)
	p.answer = func(l *attempt) {
		if l.user == "first" {
			n, _ := unix.Getpriority(unix.PRIO_PROCESS, unix.Gettid())
			nice <- 20 - n // as the system call has it
			<-begin
		}
		answers <- l
	}
	defer p.close()
	hash := hashOf(t, auth.PBKDF2, 1)
	first := &attempt{user: "first", password: []byte("secret"), known: true, hash: hash}
	if !p.submit(first) {
		t.Fatal("no room")
	}
	if n := <-nice; n != workerNice {
		t.Errorf("a worker's priority is %d", n)
	}
	var all []*attempt
	for i := range queuedMax + 1 {
		l := &attempt{password: []byte("secret"), known: i%2 == 0, hash: hash}
		if i%3 == 0 {
			l.password = []byte("wrong")
		}
		if p.submit(l) != (i < queuedMax) {
			t.Fatalf("room for %d logins", i)
		}
		all = append(all, l)
	}
	if !p.cancel(all[5]) || p.cancel(all[5]) || p.cancel(first) {
		t.Error("what is taken back")
	}
	close(begin)
	if l := <-answers; l != first || !l.right {
		t.Errorf("%+v", l)
	}
	for i, l := range all[:queuedMax] {
		if i == 5 {
			continue
		}
		if got := <-answers; got != l || l.right != (i%2 == 0 && i%3 != 0) {
			t.Fatalf("login %d: right %v", i, l.right)
		}
	}
	if p.queue.Len() != 0 || len(p.places) != 0 || p.bytes != 0 {
		t.Errorf("%d logins of %d bytes are left", p.queue.Len(), p.bytes)
	}
}

// TestPoolMemory: hashes that need much of it are verified one after the other.
func TestPoolMemory(t *testing.T) {
	p := newPool(0, nil)
	small := hashOf(t, auth.PBKDF2, 1)
	large, err := auth.ParseHash("$argon2id$v=19$m=262144,t=1,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAAAA")
	if err != nil {
		t.Fatal(err)
	}
	one, two, three := &attempt{hash: large}, &attempt{hash: large}, &attempt{hash: small}
	p.submit(one)
	p.submit(two)
	if p.take() != one {
		t.Fatal("the first is not taken")
	}
	taken := make(chan *attempt)
	go func() { taken <- p.take() }()
	select {
	case <-taken:
		t.Fatal("two at once")
	case <-time.After(10 * time.Millisecond): // it cannot be shown that it waits for ever
	}
	p.garbage = -one.hash.Memory() // no collection
	p.give(one)
	if <-taken != two {
		t.Fatal("the second is not taken")
	}
	p.submit(three)
	go func() { taken <- p.take() }()
	p.garbage = -two.hash.Memory()
	p.give(two)
	if <-taken != three || p.memory != small.Memory() {
		t.Fatalf("%d bytes in use", p.memory)
	}
	p.close()
	if p.take() != nil || p.submit(one) {
		t.Error("a closed pool works")
	}
}
