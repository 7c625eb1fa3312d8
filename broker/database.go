package broker

import (
	"fmt"
	"path/filepath"
	"time"

	"midge/broker/core"
	"midge/broker/logging"
	"midge/conf"
	"midge/persist"
)

// database is what outlives the process, as the loop sees it: the store, which is
// given each turn's changes, and when snapshots are due. A nil database is none.
type database struct {
	store    *persist.Store
	found    *persist.Recovery // until it is in core
	unlock   func()
	interval core.Time // between snapshots, in milliseconds; 0: none of their own
	next     core.Time // when the next is due
	changes  int       // or after how many changes, 0: no matter how many
	saved    int       // as many there were at the last of those
	again    core.Time // when there is something for the store, or Never
	owing    bool
}

// What the journal may owe, in bytes: above the first clients that make records are
// not read, until it is below the second.
const (
	backlogHigh = 16 << 20
	backlogLow  = 4 << 20
)

// openStore reads what an earlier process has left, and has the clock go on.
func (s *Server) openStore() error {
	folder, name := databaseFile(s.conf.PersistencePath())
	unlock, err := folder.Lock(name)
	if err != nil {
		return fmt.Errorf("unable to open %s: %w", s.conf.PersistencePath(), err)
	}
	var disk persist.Disk = folder
	if s.options.disk != nil {
		disk = s.options.disk(folder)
	}
	found, err := persist.Recover(disk, name, s.progress())
	if err != nil {
		unlock()
		return err
	}
	for _, n := range found.Notes {
		s.log.Logf(noteClass(n.Level), "%s", n.Text)
	}
	s.db = &database{found: found, unlock: unlock, again: persist.Never}
	s.db.store = persist.NewStore(persist.Options{
		Disk: disk, Name: name, Path: s.conf.PersistencePath(), Sync: syncOf(s.conf),
		Report: func(r persist.Report) { s.poll.Post(func() { s.reported(r) }) },
		Log: func(l persist.Level, text string) {
			s.poll.Post(func() { s.log.Logf(noteClass(l), "%s", text) })
		},
	}, found)
	wall := s.epoch.UnixMilli()
	at := found.Now(wall)
	s.zero = at + ((wall-at)%1000+1000)%1000 // in step with the wall clock's seconds
	return nil
}

// databaseFile is the folder and the name of the file, not of a symbolic link to it.
func databaseFile(path string) (persist.Folder, string) {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	return persist.Folder(filepath.Dir(path)), filepath.Base(path)
}

// progress logs how far the reading is, once a second.
func (s *Server) progress() func(done, total int64) {
	last := time.Now()
	return func(done, total int64) {
		if now := time.Now(); now.Sub(last) >= time.Second {
			last = now
			s.log.Logf(core.LogInfo, "Reading %s and its journal: %d of %d MiB.", s.conf.PersistencePath(), done>>20, total>>20)
			s.log.Flush()
		}
	}
}

func noteClass(l persist.Level) core.Class {
	return [...]core.Class{persist.Info: core.LogInfo, persist.Warning: core.LogWarning, persist.Error: core.LogError}[l]
}

func syncOf(c *conf.Config) persist.Sync {
	switch c.PersistenceSync {
	case conf.SyncAlways:
		return persist.SyncAlways
	case conf.SyncOff:
		return persist.SyncOff
	}
	return persist.Sync(time.Duration(c.PersistenceSync) * time.Second)
}

// recorder is core's, nil without a database.
func (s *Server) recorder() persist.Recorder {
	if s.db == nil {
		return nil
	}
	return s.db.store
}

// startStore gives core what was found, and begins to write.
func (s *Server) startStore() {
	if s.db == nil {
		return
	}
	found := s.db.found
	s.db.found = nil
	if !found.Empty() {
		sayRestored(s.log, found.Image)
	}
	s.core.Restore(found.Image, s.now())
	s.db.configure(s.conf, s.now())
	s.db.store.Start()
}

// sayRestored is mosquitto's account of what was read.
func sayRestored(log *logging.Log, im *persist.Image) {
	messages := make(map[*persist.Message]struct{})
	queued := 0
	for s := range im.Sessions() {
		for d := range im.Deliveries(s.ClientID) {
			messages[d.Message] = struct{}{}
			queued++
		}
		for _, m := range im.Incoming(s.ClientID) {
			messages[m] = struct{}{}
			queued++
		}
	}
	base := im.RetainedLen()
	for m := range messages {
		if im.RetainedAt(m.Topic) != m {
			base++
		}
	}
	log.Logf(core.LogInfo, "Restored %d base messages", base)
	log.Logf(core.LogInfo, "Restored %d retained messages", im.RetainedLen())
	log.Logf(core.LogInfo, "Restored %d clients", im.SessionsLen())
	log.Logf(core.LogInfo, "Restored %d subscriptions", im.SubscriptionsLen())
	log.Logf(core.LogInfo, "Restored %d client messages", queued)
}

// configure puts options in force that may change while the broker runs.
func (d *database) configure(c *conf.Config, now core.Time) {
	if d == nil {
		return
	}
	d.interval, d.changes = 0, 0
	if c.AutosaveOnChanges {
		d.changes = c.AutosaveInterval
	} else {
		d.interval = core.Time(c.AutosaveInterval) * 1000
	}
	d.next = now + d.interval
	d.store.SetSync(syncOf(c))
}

// save has a snapshot made.
func (d *database) save() {
	if d != nil {
		d.store.Save()
	}
}

// due is when hand has something to do, if nothing comes before.
func (d *database) due() core.Time {
	switch {
	case d == nil:
		return persist.Never
	case d.interval == 0:
		return d.again
	}
	return min(d.again, d.next)
}

// hand gives the journal what the turn has recorded, and has snapshots made when
// they are due.
func (s *Server) hand(now core.Time) {
	d := s.db
	if d == nil {
		return
	}
	d.again = d.store.Hand(now, wall())
	if n := d.store.Changes(); d.changes > 0 && n-d.saved >= d.changes {
		d.saved = n
		d.store.Save()
	}
	if d.interval > 0 && now >= d.next {
		d.next = now + d.interval
		d.store.Save()
	}
	owes := d.store.Backlog()
	if !d.owing && owes > backlogHigh || d.owing && owes < backlogLow {
		d.owing = !d.owing
		s.core.Owing(d.owing, now)
	}
}

// wall is the machine's clock, in Unix milliseconds.
func wall() int64 { return time.Now().UnixMilli() }

// reported takes note of what the journal says.
func (s *Server) reported(r persist.Report) {
	s.db.store.Done(r)
	s.core.Synced(r.Safe, r.Err, s.now())
}

// closeStore writes the last snapshot, however long that takes.
func (s *Server) closeStore() {
	if s.db == nil {
		return
	}
	s.log.Flush()
	now := s.now()
	s.db.store.Close(now, wall())
	for s.poll.Mail() {
		s.poll.RunMail()
	}
	s.db.unlock()
}
