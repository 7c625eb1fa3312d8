package persist

import (
	"cmp"
	"slices"
	"strings"
)

// restore makes an image of chunks. What refers to each other may be far apart
// in a file, and what midge adds comes last, so all but the messages themselves
// is kept in lists until the file ends.
type restore struct {
	found    *snapshot
	image    *Image
	messages messages
	origins  map[Origin]*Origin
	retained []*Message
	sessions map[string]*restored
	order    []*restored
	own      bool // midge's own chunk was read
	number   uint64
}

// restored is a session with what belongs to it.
type restored struct {
	Session
	over          bool // it ended with its connection
	subscriptions []*Subscription
	deliveries    []restoredDelivery
	incoming      []restoredIncoming
	inflight      map[uint16]struct{} // packet identifiers of deliveries
	cursors       []ownCursor
	will          *Will
}

type ownCursor struct {
	number uint64
	Cursor
}

type restoredDelivery struct {
	Delivery
	mid uint16 // in the file
}

type restoredIncoming struct {
	mid     uint16
	message *Message
}

// messages are those of a file by their ids, in ascending order once sorted.
type messages struct {
	all    []identified
	sorted bool
}

type identified struct {
	id      uint64
	message *Message
}

func (m *messages) add(id uint64, msg *Message) {
	m.sorted = len(m.all) == 0 || m.sorted && m.all[len(m.all)-1].id < id
	m.all = append(m.all, identified{id, msg})
}

func byID(a, b identified) int { return cmp.Compare(a.id, b.id) }

// sort has the ids ascend; of two messages with one id the first is kept.
func (m *messages) sort() {
	if !m.sorted {
		slices.SortStableFunc(m.all, byID)
		m.all = slices.CompactFunc(m.all, func(a, b identified) bool { return a.id == b.id })
		m.sorted = true
	}
}

// find gives nil for an id that is not there.
func (m *messages) find(id uint64) *Message {
	m.sort()
	if i, ok := slices.BinarySearchFunc(m.all, identified{id: id}, byID); ok {
		return m.all[i].message
	}
	return nil
}

func newRestore(found *snapshot) *restore {
	return &restore{found: found, image: NewImage(), origins: map[Origin]*Origin{}, sessions: map[string]*restored{}}
}

// read takes all chunks in.
func (r *restore) read(c *chunks) error {
	for c.next() {
		if r.own {
			r.found.broken(c.at) // nothing may follow midge's own
			continue
		}
		ok, err := r.chunk(c)
		if err != nil {
			return err
		}
		if !ok {
			r.found.broken(c.at)
		}
	}
	return c.src.err
}

// chunk takes one in; it is not ok when it makes no sense.
func (r *restore) chunk(c *chunks) (ok bool, err error) {
	old := c.version < versionStruct
	switch c.kind {
	case kindConfig:
		return r.config(c)
	case kindMessage:
		var m messageChunk
		if ok = old && m.decodeOld(&c.body, c.version) || !old && m.decode(&c.body); ok {
			r.message(&m)
		}
	case kindDelivery:
		var d deliveryChunk
		if ok = old && d.decodeOld(&c.body) || !old && d.decode(&c.body); ok {
			r.delivery(&d)
		}
	case kindRetained:
		var m retainedChunk
		if ok = m.decode(&c.body); ok {
			r.retain(&m)
		}
	case kindSubscription:
		var s subscriptionChunk
		if ok = old && s.decodeOld(&c.body) || !old && s.decode(&c.body); ok {
			r.subscription(&s)
		}
	case kindSession:
		var s sessionChunk
		if ok = old && s.decodeOld(&c.body, c.version) || !old && s.decode(&c.body, c.version); ok {
			r.session(&s)
		}
	case kindOwn:
		return r.takeOwn(c)
	}
	return ok, nil
}

// takeOwn takes in what midge adds. All that it adds to is before it.
func (r *restore) takeOwn(c *chunks) (ok bool, err error) {
	o, err := decodeOwn(c)
	if o == nil {
		return false, err
	}
	if o.before != c.before {
		r.found.mark().sum = true
	}
	r.found.own, r.own = true, true
	r.found.stamp = o.stamp
	r.numberMessages()
	return o.apply(r), nil
}

func (r *restore) config(c *chunks) (bool, error) {
	var cfg configChunk
	if c.at != int64(headerSize) {
		return false, nil // it comes first
	}
	if c.version < versionStruct && !cfg.decodeOld(&c.body) || c.version >= versionStruct && !cfg.decode(&c.body) {
		return false, nil
	}
	if cfg.idSize != idSize {
		return false, incompatible(cfg.idSize)
	}
	r.found.own, r.found.stopped = cfg.own, cfg.stopped
	return true, nil
}

func (r *restore) message(c *messageChunk) {
	r.found.counts.messages++
	t, e := len(c.topic), len(c.topic)+len(c.properties)
	b := make([]byte, 0, e+len(c.payload))
	s := view(append(append(append(b, c.topic...), c.properties...), c.payload...))
	m := &Message{
		Topic: s[:t], Properties: s[t:e], Payload: s[e:],
		Origin: r.origin(c), Expires: Never, QoS: c.qos, Retain: c.retain != 0,
	}
	if c.expires != 0 {
		m.Expires = instant(c.expires)
	}
	r.messages.add(c.id, m)
}

// instant is Unix time in milliseconds. What is no date of this age never comes.
func instant(seconds int64) Time {
	const year10000 = 253402300800
	if seconds < -year10000 || seconds >= year10000 {
		return Never
	}
	return seconds * 1000
}

// origin shares origins among messages.
func (r *restore) origin(c *messageChunk) *Origin {
	key := Origin{c.source, c.user, int(c.port)}
	if key == (Origin{}) {
		return nil
	}
	if o := r.origins[key]; o != nil {
		return o
	}
	o := &Origin{strings.Clone(c.source), strings.Clone(c.user), int(c.port)}
	r.origins[*o] = o
	return o
}

// refer finds a message for one that refers to it.
func (r *restore) refer(id uint64) *Message {
	m := r.messages.find(id)
	if m == nil && r.found.own {
		r.found.mark().lost++
	}
	return m
}

func (r *restore) retain(c *retainedChunk) {
	r.found.counts.retained++
	if m := r.refer(c.message); m != nil && m.Payload != "" {
		r.retained = append(r.retained, m)
	}
}

// sessionOf is the session of a client; one of which only now is heard never ends.
func (r *restore) sessionOf(client string) *restored {
	s := r.sessions[client]
	if s == nil {
		id := strings.Clone(client)
		s = &restored{Session: Session{ClientID: id, Expiry: neverEnds, Gone: Never}}
		r.sessions[id] = s
		r.order = append(r.order, s)
	}
	return s
}

func (r *restore) session(c *sessionChunk) {
	r.found.counts.sessions++
	if c.client == "" {
		r.found.warn("Empty client entry found in persistence database, it may be corrupt.")
		return
	}
	s := r.sessionOf(c.client)
	s.Username, s.Listener = strings.Clone(c.user), int(c.port)
	s.Expiry, s.LastID = c.expiry, c.last
	switch {
	case c.gone != 0:
		s.Gone = instant(c.gone)
	case c.expires != 0 && c.expiry != neverEnds:
		s.Gone = instant(c.expires - int64(c.expiry))
	}
	s.over = c.expiry == 0
}

func (r *restore) subscription(c *subscriptionChunk) {
	r.found.counts.subscriptions++
	s := r.sessionOf(c.client)
	s.subscriptions = append(s.subscriptions, &Subscription{
		ClientID: s.ClientID, Filter: strings.Clone(c.filter), ID: c.id, Options: c.options&optionsBesideQoS | c.qos,
	})
}

// delivery takes in a message on its way, in either direction.
func (r *restore) delivery(c *deliveryChunk) {
	r.found.counts.deliveries++
	s := r.sessionOf(c.client)
	m := r.refer(c.message)
	if m == nil {
		return
	}
	if c.outgoing {
		s.outgoing(c, m)
	} else if c.qos == 2 && c.mid != 0 && c.state != stateSendPubcomp { // then PUBREL came, and it was routed
		s.incoming = append(s.incoming, restoredIncoming{c.mid, m})
	}
}

func (s *restored) outgoing(c *deliveryChunk, m *Message) {
	d := restoredDelivery{mid: c.mid, Delivery: Delivery{
		Message: m, SubscriptionID: c.subscriptionID, QoS: c.qos, Retain: c.retain, State: c.stands(),
	}}
	if d.State != Queued {
		if _, taken := s.inflight[c.mid]; taken || c.mid == 0 {
			d.State = Queued
		} else {
			if s.inflight == nil {
				s.inflight = map[uint16]struct{}{}
			}
			s.inflight[c.mid] = struct{}{}
			d.ID = c.mid
		}
	}
	s.deliveries = append(s.deliveries, d)
}

// stands is midge's name for the state of an outgoing message.
func (c *deliveryChunk) stands() State {
	if c.qos == 0 {
		return Queued
	}
	switch c.state {
	case stateAwaitPuback, stateAwaitPubrec:
		return Sent
	case stateSendPubrel, stateAwaitPubcmp:
		if c.qos == 2 {
			return Released
		}
		return Sent
	}
	return Queued // whoever was about to send it did not
}

// finish puts all of it into the image.
func (r *restore) finish() {
	if !r.own {
		r.numberMessages()
		if r.found.own {
			r.found.mark().own = true
		}
	}
	for _, m := range r.retained {
		r.image.Retain(m)
	}
	for _, s := range r.order {
		if !s.over || r.found.own {
			r.enter(s)
		}
	}
	r.image.numbered(r.number)
}

// numberMessages gives messages of mosquitto's their numbers: in the order of
// their ids, which is that of arrival.
func (r *restore) numberMessages() {
	r.messages.sort()
	for i, m := range r.messages.all {
		if r.found.own {
			m.message.Stored = m.id
		} else {
			m.message.Stored = uint64(i + 1)
		}
		r.number = max(r.number, m.message.Stored)
	}
}

func (r *restore) enter(s *restored) {
	r.image.Session(s.Session)
	for _, sub := range s.subscriptions {
		r.image.Subscribe(sub)
	}
	r.numberDeliveries(s)
	for i := range s.deliveries {
		r.image.Deliver(s.ClientID, s.deliveries[i].Delivery)
	}
	for _, in := range s.incoming {
		r.image.Receive(s.ClientID, in.mid, in.message)
	}
	for _, c := range s.cursors {
		r.image.Cursor(s.ClientID, c.number, c.Cursor)
	}
	if s.will != nil {
		r.image.Will(s.ClientID, s.will)
	}
}

// numberDeliveries gives a session's deliveries numbers, where they have none. In a
// file of midge's they had some that were lost, and the journal tells of those
// and of later ones; there they get what no delivery of another message has had:
// the numbers of their messages, which are in the same order.
func (r *restore) numberDeliveries(s *restored) {
	var taken map[uint64]struct{}
	for i := range s.deliveries {
		d := &s.deliveries[i].Delivery
		switch {
		case d.Number != 0:
		case !r.found.own:
			r.number++
			d.Number = r.number
		default:
			if taken == nil {
				taken = s.numbers()
			}
			d.Number = r.spare(d.Message.Stored, taken)
			taken[d.Number] = struct{}{}
		}
	}
}

func (s *restored) numbers() map[uint64]struct{} {
	all := map[uint64]struct{}{}
	for i := range s.deliveries {
		all[s.deliveries[i].Number] = struct{}{}
	}
	return all
}

// spare is the first number of a message, from n on, that is not taken.
func (r *restore) spare(n uint64, taken map[uint64]struct{}) uint64 {
	i, _ := slices.BinarySearchFunc(r.messages.all, identified{id: n}, byID)
	for ; i < len(r.messages.all); i++ {
		if n = r.messages.all[i].id; !has(taken, n) {
			return n
		}
	}
	for n = farOff; has(taken, n); n++ {
	}
	return n
}

// farOff is a number that no broker comes to.
const farOff = 1 << 62

func has(set map[uint64]struct{}, n uint64) bool {
	_, ok := set[n]
	return ok
}
