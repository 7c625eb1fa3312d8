package loop

import (
	"slices"
	"sync"
	"testing"
)

func TestMailFromManyGoroutines(t *testing.T) {
	p := newPoller(t)
	const senders, each = 8, 500
	got := make([][]int, senders) // written on this goroutine only: the race detector watches
	var wg sync.WaitGroup
	for s := range senders {
		wg.Go(func() {
			for i := range each {
				p.Post(func() { got[s] = append(got[s], i) })
			}
		})
	}
	done := false
	go func() {
		wg.Wait()
		p.Post(func() { done = true })
	}()
	for !done {
		events, err := p.Wait(-1)
		must(t, err)
		if len(events) != 0 {
			t.Fatalf("the wake-up was not swallowed: %v", events)
		}
		p.RunMail()
	}
	for s := range senders {
		if len(got[s]) != each || !slices.IsSorted(got[s]) {
			t.Errorf("sender %d: mail was lost or came out of order: %v", s, got[s])
		}
	}
}

// Each round starts from an empty mailbox and most find Wait blocked, so a
// single lost wake-up hangs the test.
func TestPostWakesBlockedWait(t *testing.T) {
	p := newPoller(t)
	const rounds = 2000
	ran := make(chan int)
	done := false
	go func() {
		for i := range rounds {
			p.Post(func() { ran <- i })
			if got := <-ran; got != i {
				t.Errorf("round %d ran the mail of round %d", i, got)
			}
		}
		p.Post(func() { done = true })
	}()
	for !done {
		_, err := p.Wait(-1)
		must(t, err)
		p.RunMail()
	}
}

func TestMailIsBoundedAndInOrder(t *testing.T) {
	p := newPoller(t)
	const n = 2*mailBatch + 5
	var got []int
	for i := range n {
		p.Post(func() { got = append(got, i) })
	}
	for _, want := range []int{mailBatch, 2 * mailBatch, n} {
		if !p.Mail() {
			t.Fatal("Mail says that nothing is left")
		}
		_, err := p.Wait(-1) // must not block although the eventfd is quiet by now
		must(t, err)
		p.RunMail()
		if len(got) != want {
			t.Fatalf("%d have run, want %d", len(got), want)
		}
	}
	if p.Mail() {
		t.Error("Mail says that something is left")
	}
	if !slices.IsSorted(got) {
		t.Error("mail ran out of order")
	}
}

func TestMailPostedByMailWaits(t *testing.T) {
	p := newPoller(t)
	turns := 0
	var again func()
	again = func() {
		turns++
		p.Post(again)
	}
	p.Post(again)
	for want := 1; want <= 3; want++ {
		p.RunMail()
		if turns != want {
			t.Fatalf("ran %d times after %d calls", turns, want)
		}
	}
}

func TestStaleWakeUpIsNoEvent(t *testing.T) {
	p := newPoller(t)
	ran := 0
	p.Post(func() { ran++ })
	p.RunMail() // before any Wait has seen the wake-up
	expect(t, p, nil)
	p.RunMail()
	if ran != 1 || p.Mail() {
		t.Errorf("ran %d times, Mail %v", ran, p.Mail())
	}
}

func TestMailSurvivesPanic(t *testing.T) {
	p := newPoller(t)
	ran := false
	p.Post(func() { panic("on purpose") })
	p.Post(func() { ran = true })
	func() {
		defer func() { recover() }()
		p.RunMail()
	}()
	p.RunMail()
	if !ran {
		t.Error("the mail behind a panic was lost")
	}
}

func TestPostAfterClose(t *testing.T) {
	p := newPoller(t)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 200 {
				p.Post(func() {})
			}
		})
	}
	must(t, p.Close())
	wg.Wait()
	p.Post(func() { t.Error("ran") })
	if p.Mail() {
		t.Error("a closed Poller has mail")
	}
	p.RunMail()
}

func TestMailboxShrinks(t *testing.T) {
	p := newPoller(t)
	for range 10 * mailKept {
		p.Post(func() {})
	}
	for p.Mail() {
		p.RunMail()
	}
	for range 2 { // both slices
		p.Post(func() {})
		p.RunMail()
	}
	if n := cap(p.mail.batch) + cap(p.mail.inbox); n > 2*mailKept {
		t.Errorf("%d places are kept after a burst", n)
	}
}
