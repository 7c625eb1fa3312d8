package hosts

import (
	"bufio"
	"fmt"
	"net/netip"
)

// set is the patterns of a file that a pattern names.
type set struct {
	exact map[netip.Addr]bool
	more  []pattern
}

func (s *set) match(c *Conn) bool {
	if s.exact[c.client.addr] {
		return true
	}
	for _, p := range s.more {
		if p.match(c) {
			return true
		}
	}
	return false
}

// file reads the patterns for hosts in a file, separated by white space. Each file is
// read once; in itself it matches nothing.
func (l *loader) file(at, name string) (*set, error) {
	if s := l.sets[name]; s != nil {
		return s, nil
	}
	if len(l.sets) == maxFiles {
		return nil, errMany
	}
	s := &set{exact: make(map[netip.Addr]bool)}
	l.sets[name] = &set{}
	f, err := l.open(name)
	if err != nil {
		return nil, fmt.Errorf("%s: %s: %w", at, name, err)
	}
	if f == nil {
		l.note("%s: there is no file %s.", at, name)
		return s, nil
	}
	defer f.Close()
	words := bufio.NewScanner(f)
	words.Split(bufio.ScanWords)
	for words.Scan() {
		p, err := l.host(at, words.Text())
		if err != nil {
			return nil, err
		}
		s.add(p)
	}
	if err := words.Err(); err != nil {
		return nil, fmt.Errorf("%s: %s: %w", at, name, err)
	}
	l.sets[name] = s
	return s, nil
}

func (s *set) add(p pattern) {
	if a, ok := p.(address); ok {
		s.exact[netip.Addr(a)] = true
	} else {
		s.more = append(s.more, p)
	}
}
