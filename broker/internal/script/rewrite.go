package script

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"midge/packet"
)

// Rewrite runs every case of a script, with a broker of its own from fresh each
// time, and gives back the text with what happened in place of what was listed
// and did not happen. Steps whose list holds are left as they are. A step that cannot
// be carried out ends its case and is told in the error; the text is good nevertheless.
func Rewrite(text string, cases []*Case, fresh func(c *Case, v packet.Version) (Target, error)) (string, error) {
	lines := strings.Split(text, "\n")
	var errs []error
	for _, c := range slices.Backward(cases) {
		seen := map[int]*outcome{} // by the number of the step's line
		for _, v := range c.Versions {
			t, err := fresh(c, v)
			if err != nil {
				return "", err
			}
			r := run{c: c, t: t, clients: map[string]*peer{}}
			r.keep = func(steps []step, got []event) {
				o := seen[steps[0].line.number]
				if o == nil {
					o = &outcome{}
					seen[steps[0].line.number] = o
				}
				before := len(r.errs)
				r.compare(steps, got)
				o.wrong = o.wrong || len(r.errs) > before
				o.versions = append(o.versions, v)
				o.lists = append(o.lists, listed(&steps[0], got))
			}
			for i := range c.steps[v] {
				if err := r.do(c.steps[v][i : i+1]); err != nil {
					errs = append(errs, fmt.Errorf("%s:%d: %w", c.File, c.steps[v][i].line.number, err))
					break
				}
			}
		}
		lines = c.replace(lines, seen)
	}
	return strings.Join(lines, "\n"), errors.Join(errs...)
}

// outcome is what came after a step, in each version.
type outcome struct {
	wrong    bool
	versions []packet.Version
	lists    [][]string // lines
}

// listed is the list of what came, as a script would have it: a line that fits as
// it was written, and the log only where the script asks for it.
func listed(s *step, got []event) (out []string) {
	left := slices.Clone(s.expect)
	write := func(e *event, sign string) {
		at := slices.IndexFunc(left, func(x expectation) bool { return x.line.client == e.client && x.fits(e) })
		text := e.text
		if at >= 0 {
			text = left[at].line.text
			if left[at].line.kind == exact {
				sign = "<= "
			}
			left = slices.Delete(left, at, at+1)
		}
		out = append(out, e.client+sign+text)
	}
	logs := slices.ContainsFunc(s.expect, func(x expectation) bool { return x.line.kind == logged })
	for i := range got {
		switch {
		case got[i].client != "":
			write(&got[i], "< ")
		case logs:
			write(&got[i], "log: ")
		}
	}
	return out
}

// replace puts outcomes in place of lists that did not hold.
func (c *Case) replace(lines []string, seen map[int]*outcome) []string {
	remove := map[int]bool{}
	insert := map[int][]string{}
	step := 0
	for i := range c.lines {
		l := &c.lines[i]
		if !l.kind.expects() {
			step = l.number
			if o := seen[step]; o != nil && o.wrong {
				insert[step] = o.text()
			}
		} else if o := seen[step]; o != nil && o.wrong {
			remove[l.number] = true
		}
	}
	var out []string
	for i, s := range lines {
		if !remove[i+1] {
			out = append(out, s)
		}
		out = append(out, insert[i+1]...)
	}
	return out
}

// text is the list of all versions, each line once: those that hold for some
// versions only are marked.
func (o *outcome) text() (out []string) {
	for {
		line, ok := o.next()
		if !ok {
			return out
		}
		mark := ""
		for i, list := range o.lists {
			if len(list) > 0 && list[0] == line {
				o.lists[i] = list[1:]
				mark += fmt.Sprintf(" v%d", o.versions[i])
			}
		}
		if strings.Count(mark, " ") < len(o.lists) {
			line = "[" + mark[1:] + "] " + line
		}
		out = append(out, line)
	}
}

// next is the first line of some list that no other list has further on, so that
// lines that several lists have come together where they can.
func (o *outcome) next() (line string, ok bool) {
	for _, list := range o.lists {
		if len(list) == 0 {
			continue
		}
		if !slices.ContainsFunc(o.lists, func(other []string) bool {
			return len(other) > 0 && other[0] != list[0] && slices.Contains(other[1:], list[0])
		}) {
			return list[0], true
		}
		line, ok = list[0], true
	}
	return line, ok
}
