package auth

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
	"unicode"
	"unicode/utf8"

	"midge/conf"
)

// Passwd is the command that writes password files: mosquitto_passwd, with bcrypt for
// a default.
type Passwd struct {
	Name   string // what it is called by, for the usage text
	Legacy bool   // it was called as mosquitto_passwd: with that command's default hash
	Stdin  *os.File
	Stdout io.Writer
	Stderr io.Writer
}

// Exit statuses of the command, mosquitto_passwd's.
const (
	passwdOK        = 0
	passwdFailed    = 1
	passwdDifferent = 2 // the password was given in two ways
)

// job is what the command line asks for.
type job struct {
	create, batch, remove, upgrade, quiet bool
	kind                                  Kind // 0: the usual one
	iterations, cost                      int  // 0: the usual ones
	file, user, password                  string

	found bool // the user was in the file
}

// refused is an error with its exit status.
type refused struct {
	text   string
	status int
	usage  bool // and the usage text follows instead
}

func (r *refused) Error() string { return r.text }

func refuse(format string, args ...any) error {
	return &refused{text: fmt.Sprintf(format, args...), status: passwdFailed}
}

// Run does what the arguments say and returns the exit status.
func (c *Passwd) Run(args []string) int {
	err := c.run(args)
	var r *refused
	switch {
	case err == nil:
		return passwdOK
	case !errors.As(err, &r):
		fmt.Fprintf(c.Stderr, "Error: %v.\n", err)
		return passwdFailed
	case r.usage:
		c.usage()
	default:
		fmt.Fprintln(c.Stderr, r.text)
	}
	return r.status
}

func (c *Passwd) run(args []string) error {
	j, err := c.parse(args)
	if err != nil {
		return err
	}
	switch {
	case j.upgrade:
		return c.edit(j, j.hashAll)
	case j.remove:
		return c.edit(j, j.delete)
	}
	if err := j.checkUser(); err != nil {
		return err
	}
	if j.create && j.file != "-" {
		if _, err := os.Lstat(j.file); err == nil {
			return unwritable(j.file, syscall.EEXIST)
		}
	}
	line, err := c.entry(j)
	if err != nil {
		return err
	}
	switch {
	case j.create && j.file == "-":
		_, err := fmt.Fprintln(c.Stdout, line)
		return err
	case j.create:
		err = createFile(j.file, []byte(line+"\n"))
	default:
		err = c.edit(j, func(lines []string) ([]string, error) { return j.put(lines, line), nil })
	}
	if err == nil && !j.quiet {
		fmt.Fprintf(c.Stdout, "%s password for user %s\n", j.doing(), j.user)
	}
	return err
}

// doing is mosquitto_passwd's word for what was done.
func (j *job) doing() string {
	if j.found {
		return "Updating"
	}
	return "Adding"
}

// parse reads the options, which come before the names.
func (c *Passwd) parse(args []string) (*job, error) {
	j := new(job)
	for len(args) > 0 && strings.HasPrefix(args[0], "-") && args[0] != "-" {
		flag := args[0]
		args = args[1:]
		switch flag {
		case "-b":
			j.batch = true
		case "-c":
			j.create = true
		case "-D":
			j.remove = true
		case "-U":
			j.upgrade = true
		case "-q":
			j.quiet = true
		case "-H", "-I", "-C":
			if len(args) == 0 {
				return nil, refuse("Error: %s argument given but not enough other arguments.", flag)
			}
			if err := j.set(flag, args[0]); err != nil {
				return nil, err
			}
			args = args[1:]
		default:
			return nil, &refused{status: passwdFailed, usage: true}
		}
	}
	if err := j.check(); err != nil {
		return nil, err
	}
	if j.kind == 0 {
		j.kind = c.usual(j)
	}
	return j, j.name(args)
}

// usual is the kind of hash where -H says none.
func (c *Passwd) usual(j *job) Kind {
	if j.iterations > 0 || c.Legacy && j.cost == 0 {
		return PBKDF2
	}
	return Bcrypt
}

// set reads an option's value.
func (j *job) set(flag, value string) error {
	n, err := strconv.Atoi(value)
	switch flag {
	case "-H":
		kinds := map[string]Kind{"bcrypt": Bcrypt, "sha512": SHA512, "sha512-pbkdf2": PBKDF2, "pbkdf2": PBKDF2, "argon2id": Argon2id}
		if j.kind = kinds[value]; j.kind == 0 {
			return refuse("Error: Unknown hash type '%s'", value)
		}
		return nil
	case "-I":
		if err != nil || n < 1 {
			return refuse("Error: Number of iterations must be > 0.")
		}
		if n > iterationsMax {
			return refuse("Error: Number of iterations must be at most %d.", iterationsMax)
		}
		j.iterations = n
	case "-C":
		if err != nil || n < 4 || n > bcryptCostMax {
			return refuse("Error: The cost must be between 4 and %d.", bcryptCostMax)
		}
		j.cost = n
	}
	return nil
}

// check refuses options that contradict each other.
func (j *job) check() error {
	for _, pair := range [...]struct {
		both bool
		a, b string
	}{
		{j.create && j.remove, "-c", "-D"}, {j.create && j.upgrade, "-c", "-U"},
		{j.remove && j.upgrade, "-D", "-U"}, {j.batch && j.remove, "-b", "-D"},
		{j.iterations > 0 && j.cost > 0, "-I", "-C"}, {j.iterations > 0 && j.kind == Bcrypt, "-I", "-H bcrypt"},
		{j.cost > 0 && j.kind != 0 && j.kind != Bcrypt, "-C", "another -H than bcrypt"},
	} {
		if pair.both {
			return refuse("Error: %s and %s cannot be used together.", pair.a, pair.b)
		}
	}
	return nil
}

// name takes the names behind the options.
func (j *job) name(args []string) error {
	want := 2
	switch {
	case j.upgrade:
		want = 1
	case j.batch:
		want = 3
	}
	if len(args) != want {
		return j.missing()
	}
	args = append(args, "", "")
	j.file, j.user, j.password = args[0], args[1], args[2]
	return nil
}

func (j *job) missing() error {
	switch {
	case j.create && j.batch:
		return refuse("Error: -c argument given but password file, username, or password missing.")
	case j.create:
		return refuse("Error: -c argument given but password file or username missing.")
	case j.remove:
		return refuse("Error: -D argument given but password file or username missing.")
	case j.upgrade:
		return refuse("Error: -U argument given but password file missing.")
	}
	return &refused{status: passwdFailed, usage: true}
}

// checkUser refuses names that a password file cannot hold.
func (j *job) checkUser() error {
	switch {
	case strings.Contains(j.user, ":"):
		return refuse("Error: Username must not contain the ':' character.")
	case strings.ContainsFunc(j.user, unicode.IsControl):
		return refuse("Error: Username must not contain control characters.")
	case len(j.user) > stringMax:
		return refuse("Error: Username must be less than 65536 characters long.")
	case !utf8.ValidString(j.user):
		return refuse("Error: Username must be UTF-8.")
	case trim(j.user) != j.user:
		return refuse("Error: Username must not begin or end with a space.")
	case j.user == "":
		return refuse("Error: Empty username.")
	case j.user[0] == '#':
		return refuse("Error: Username must not begin with '#'.")
	}
	return nil
}

// entry makes the line of the user, asking for the password if it was not given.
func (c *Passwd) entry(j *job) (string, error) {
	password := []byte(j.password)
	if !j.batch {
		var err error
		if password, err = c.ask(); err != nil {
			return "", err
		}
	}
	h, err := j.hash(password)
	return j.user + ":" + h.String(), err
}

// hash makes the hash of a password that the file is to hold.
func (j *job) hash(password []byte) (Hash, error) {
	switch {
	case len(password) == 0:
		return Hash{}, refuse("Error: Empty password.")
	case len(password) > stringMax:
		return Hash{}, refuse("Error: Password must be less than 65536 characters long.")
	case bytes.IndexByte(password, 0) >= 0:
		return Hash{}, refuse("Error: Password must not contain NUL bytes.")
	case j.kind == Bcrypt && len(password) > bcryptMax:
		return Hash{}, refuse("Error: Password must be at most %d bytes long for bcrypt; use -H for another hash.", bcryptMax)
	}
	return MakeHash(j.kind, password, j.iterations+j.cost) // one of them is 0
}

// put replaces the user's line, or appends it.
func (j *job) put(lines []string, line string) []string {
	var next []string
	for _, l := range lines {
		if userOf(l) != j.user {
			next = append(next, l)
		} else if !j.found {
			j.found = true
			next = append(next, line)
		}
	}
	if !j.found {
		next = append(next, line)
	}
	return next
}

// delete takes the user's line out.
func (j *job) delete(lines []string) ([]string, error) {
	var kept []string
	for _, l := range lines {
		if userOf(l) != j.user {
			kept = append(kept, l)
		}
	}
	if len(kept) == len(lines) {
		return nil, refuse("Warning: User %s not found in password file.", j.user)
	}
	return kept, nil
}

// hashAll replaces plain passwords by their hashes. What is a hash is left alone.
func (j *job) hashAll(lines []string) ([]string, error) {
	for i, l := range lines {
		user, text := split(l)
		if user == "" {
			continue
		}
		if _, err := ParseHash(text); err == nil {
			continue
		}
		h, err := j.hash([]byte(text))
		if err != nil {
			return nil, refuse("%v\nError found at %s:%d.", err, j.file, i+1)
		}
		lines[i] = user + ":" + h.String()
	}
	return lines, nil
}

// edit rewrites the file.
func (c *Passwd) edit(j *job, change func([]string) ([]string, error)) error {
	return rewrite(j.file, c.warn, func(data []byte) ([]byte, error) {
		lines := strings.Split(string(data), "\n")
		if lines[len(lines)-1] == "" {
			lines = lines[:len(lines)-1]
		}
		for i, l := range lines {
			if user, text := split(l); strings.Contains(l, ":") && l[0] != '#' && (user == "" || text == "") {
				return nil, refuse("Error: Corrupt password file at line %d.", i+1)
			}
		}
		lines, err := change(lines)
		if err != nil || len(lines) == 0 {
			return nil, err
		}
		return []byte(strings.Join(lines, "\n") + "\n"), nil
	})
}

func (c *Passwd) warn(lines []conf.Line) {
	for _, l := range lines {
		fmt.Fprintln(c.Stderr, l.Text)
	}
}

// split takes a line apart; both are empty where it is a comment, or no entry.
func split(line string) (user, text string) {
	user, text, ok := strings.Cut(line, ":")
	if !ok || line[0] == '#' {
		return "", ""
	}
	text, _, _ = strings.Cut(text, ":")
	return trim(user), trim(text)
}

func userOf(line string) string {
	user, _ := split(line)
	return user
}

func (c *Passwd) usage() {
	usual := "bcrypt"
	if c.Legacy {
		usual = "sha512-pbkdf2"
	}
	indent := strings.Repeat(" ", len("Usage: "))
	fmt.Fprintf(c.Stdout, `%[1]s manages password files of midge and mosquitto.

Usage: %[1]s [-H hash] [-I n | -C n] [-c | -D] [-q] passwordfile username
%[2]s%[1]s [-H hash] [-I n | -C n] [-c] [-q] -b passwordfile username password
%[2]s%[1]s [-H hash] [-I n | -C n] -U passwordfile
 -b : take the password from the command line. Others can see it there.
 -c : create a new password file, which must not exist yet. With "-" for its
      name the entry is printed.
 -C : use bcrypt with this cost: 4 to %[3]d, %[4]d by default.
 -D : delete the user.
 -H : hash by bcrypt, sha512-pbkdf2, argon2id or sha512; the default is
      %[5]s. mosquitto does not read bcrypt, and 2.0 not argon2id.
 -I : use so many iterations for sha512-pbkdf2: %[6]d by default.
 -q : do not say what is done.
 -U : replace the plain text passwords of a file by hashes.

Without -b the password is asked for, or read from a pipe.

See https://mosquitto.org/ for more information.

`, c.Name, indent, bcryptCostMax, bcryptCost, usual, pbkdf2Iterations)
}
