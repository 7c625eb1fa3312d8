package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"midge/broker"
	"midge/conf"
	"midge/persist"
)

// exitDamaged is the status of "midge db" for a database that is not whole.
const exitDamaged = 2

const dbUsage = `midge db shows what a persistence file and the journal beside it hold, and
whether they are whole. It changes nothing.

Usage: midge db [--all] [--json] file

 --all : show every message, subscription, will, and so on.
 --json : as one JSON object.

Status 0: all of it is whole. 1: there is no database, or none that can be
read. 2: part of it is damaged; what is whole is shown.
`

// db is "midge db".
func db(args []string, stdout, stderr io.Writer) int {
	var file string
	var all, asJSON bool
	for _, a := range args {
		switch {
		case a == "--all":
			all = true
		case a == "--json":
			asJSON = true
		case a == "-h" || a == "--help":
			fmt.Fprint(stdout, dbUsage)
			return broker.ExitOK
		case strings.HasPrefix(a, "-"):
			fmt.Fprintf(stderr, "Error: Unknown option '%s'.\n\n%s", a, dbUsage)
			return conf.Exit
		case file != "":
			fmt.Fprintf(stderr, "Error: More than one file.\n\n%s", dbUsage)
			return conf.Exit
		default:
			file = a
		}
	}
	if file == "" {
		fmt.Fprintf(stderr, "Error: No file.\n\n%s", dbUsage)
		return conf.Exit
	}
	whole, err := persist.List(stdout, file, all, asJSON)
	var format *persist.FormatError
	switch {
	case errors.As(err, &format):
		fmt.Fprintf(stderr, "Error: %s: %v\n", file, err)
		return broker.ExitFailed
	case err != nil:
		fmt.Fprintf(stderr, "Error: %v\n", err)
		return broker.ExitFailed
	case !whole:
		return exitDamaged
	}
	return broker.ExitOK
}
