package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
)

const tableHelp = `usage: table [flags] RUNS

Prints a table of medians from RUNS, the file that compare -o wrote: a row for
each scenario that has the figure, a column for each broker, the ratio of the
second broker to the first, and the largest spread, (max-min)/median. The first
broker, with which the others are compared, is the last column.

flags:
`

// figure is a key of the results; rows of it are called label, where {load} stands
// for the scenario, or by their scenario.
type figure struct{ key, label string }

// runs are the results of some scenarios with some brokers, both in the order
// of the file.
type runs struct {
	labels, brokers []string
	of              map[[2]string][]map[string]any // by label and broker
}

func readRuns(file string) (*runs, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	rs := &runs{of: map[[2]string][]map[string]any{}}
	in := bufio.NewScanner(f)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		m := map[string]any{}
		if err := json.Unmarshal(in.Bytes(), &m); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		label, _ := m["label"].(string)
		broker, _ := m["broker"].(string)
		if !slices.Contains(rs.labels, label) {
			rs.labels = append(rs.labels, label)
		}
		if !slices.Contains(rs.brokers, broker) {
			rs.brokers = append(rs.brokers, broker)
		}
		at := [2]string{label, broker}
		rs.of[at] = append(rs.of[at], m)
	}
	return rs, in.Err()
}

// good are the runs that failed in nothing.
func good(all []map[string]any) (ok []map[string]any) {
	for _, m := range all {
		if m["ok"] == true {
			ok = append(ok, m)
		}
	}
	return ok
}

func table(args []string, w io.Writer) int {
	fs := flag.NewFlagSet("table", flag.ContinueOnError)
	fs.Usage = func() { fmt.Fprint(fs.Output(), tableHelp); fs.PrintDefaults() }
	var keys list
	fs.Var(&keys, "key", "figure, or FIGURE=LABEL to call its rows LABEL, {load} in it being the scenario's; repeatable")
	head := fs.String("head", "load", "heading of the first column")
	unit := fs.String("unit", "µs", "unit, for the headings; may be empty")
	divide := fs.Float64("divide", 1, "divide the figures by this")
	tsv := fs.Bool("tsv", false, "numbers separated by tabs, for a plot")
	if err := fs.Parse(args); err == flag.ErrHelp {
		return 0
	} else if err != nil {
		return 2
	}
	if fs.NArg() != 1 || len(keys) == 0 {
		fs.Usage()
		return 2
	}
	rs, err := readRuns(fs.Arg(0))
	if err != nil {
		fmt.Fprintln(os.Stderr, "table:", err)
		return 1
	}
	print := rs.markdown
	if *tsv {
		print = rs.tabs
	}
	var figures []figure
	for _, k := range keys {
		key, label, _ := strings.Cut(k, "=")
		figures = append(figures, figure{key, label})
	}
	print(w, figures, *head, *unit, *divide)
	return 0
}

// rows calls row for each scenario and figure that some broker has.
func (rs *runs) rows(figures []figure, row func(label, name string, f figure)) {
	for _, label := range rs.labels {
		for _, f := range figures {
			has := false
			for _, b := range rs.brokers {
				_, _, ok := median(rs.of[[2]string{label, b}], f.key)
				has = has || ok
			}
			switch {
			case !has:
			case f.label != "":
				row(label, strings.ReplaceAll(f.label, "{load}", label), f)
			default:
				row(label, label, f)
			}
		}
	}
}

func (rs *runs) markdown(w io.Writer, figures []figure, head, unit string, divide float64) {
	columns := rs.brokers
	if len(columns) > 1 {
		columns = append(slices.Clone(columns[1:]), columns[0])
	}
	if unit != "" {
		unit = ", " + unit
	}
	fmt.Fprintf(w, "| %s |", head)
	for _, b := range columns {
		fmt.Fprintf(w, " %s%s |", b, unit)
	}
	fmt.Fprintf(w, " ratio | spread |\n| --- |%s ---: | ---: |\n", strings.Repeat(" ---: |", len(columns)))
	rs.rows(figures, func(label, name string, f figure) {
		fmt.Fprintf(w, "| %s |", name)
		medians, most := make([]float64, len(columns)), 0.0
		for i, b := range columns {
			var text string
			var spread float64
			medians[i], spread, text = cell(rs.of[[2]string{label, b}], f.key, divide)
			most = max(most, spread)
			fmt.Fprintf(w, " %s |", text)
		}
		fmt.Fprintf(w, " %s | %.0f %% |\n", ratio(medians[len(medians)-1], medians[0]), 100*most)
	})
}

// cell is the median of a figure, its spread, and what the table says of it.
func cell(all []map[string]any, key string, divide float64) (v, spread float64, text string) {
	ok := good(all)
	v, spread, has := median(ok, key)
	switch {
	case len(all) == 0:
		text = "-"
	case !has:
		text = "failed"
	case len(ok) < len(all):
		text = fmt.Sprintf("%s (%d of %d runs)", digits(v/divide), len(ok), len(all))
	default:
		text = digits(v / divide)
	}
	return v, spread, text
}

// tabs prints the labels as numbers, without commas.
func (rs *runs) tabs(w io.Writer, figures []figure, head, unit string, divide float64) {
	fmt.Fprintf(w, "# %s", head)
	for _, b := range rs.brokers {
		fmt.Fprintf(w, "\t%s, %s", b, unit)
	}
	fmt.Fprintln(w)
	rs.rows(figures, func(label, name string, f figure) {
		fmt.Fprint(w, strings.ReplaceAll(name, ",", ""))
		for _, b := range rs.brokers {
			if v, _, ok := median(good(rs.of[[2]string{label, b}]), f.key); ok {
				fmt.Fprintf(w, "\t%.4g", v/divide)
			} else {
				fmt.Fprint(w, "\t?")
			}
		}
		fmt.Fprintln(w)
	})
}

// ratio is how v compares with base, as a fraction where it is a small one.
func ratio(base, v float64) string {
	switch {
	case base <= 0 || v <= 0:
		return "-"
	case v*3 <= base:
		return fmt.Sprintf("1/%.0f", base/v)
	}
	return digits(v / base)
}

// digits prints three significant digits, or all those of a whole number, with
// commas at the thousands.
func digits(v float64) string {
	switch {
	case v < 0:
		return "-" + digits(-v)
	case v < 9.995:
		return strconv.FormatFloat(v, 'f', 2, 64)
	case v < 99.95:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	s := strconv.FormatFloat(v, 'f', 0, 64)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
