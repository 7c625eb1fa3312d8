package persist

import (
	"errors"
	"fmt"
	"io"
	"strings"
)

// Exit statuses of Command.
const (
	exitWhole   = 0
	exitNone    = 1 // there is no database, or none that can be read
	exitDamaged = 2
	exitUsage   = 3
)

const usage = `midge db shows what a persistence file and the journal beside it hold, and
whether they are whole. It changes nothing.

Usage: midge db [--all] [--json] file

 --all : show every message, subscription, will, and so on.
 --json : as one JSON object.

Status 0: all of it is whole. 1: there is no database, or none that can be
read. 2: part of it is damaged; what is whole is shown.
`

// Command is "midge db": it shows what a persistence file holds, and gives the exit
// status of the process.
func Command(args []string, stdout, stderr io.Writer) int {
	var file string
	var all, asJSON bool
	for _, a := range args {
		switch {
		case a == "--all":
			all = true
		case a == "--json":
			asJSON = true
		case a == "-h" || a == "--help":
			fmt.Fprint(stdout, usage)
			return exitWhole
		case strings.HasPrefix(a, "-"):
			fmt.Fprintf(stderr, "Error: Unknown option '%s'.\n\n%s", a, usage)
			return exitUsage
		case file != "":
			fmt.Fprintf(stderr, "Error: More than one file.\n\n%s", usage)
			return exitUsage
		default:
			file = a
		}
	}
	if file == "" {
		fmt.Fprintf(stderr, "Error: No file.\n\n%s", usage)
		return exitUsage
	}
	whole, err := writeList(stdout, file, all, asJSON)
	var format *FormatError
	switch {
	case errors.As(err, &format):
		fmt.Fprintf(stderr, "Error: %s: %v\n", file, err)
		return exitNone
	case err != nil:
		fmt.Fprintf(stderr, "Error: %v\n", err)
		return exitNone
	case !whole:
		return exitDamaged
	}
	return exitWhole
}
