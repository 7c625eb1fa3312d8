// Command midge is an MQTT broker that takes mosquitto's place: the same command
// line, configuration, log and exit statuses.
//
// This file is the command line and no more: run tells which command is meant, parse
// reads the options of a broker, and start brings it up to broker.Run, where it lives.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"midge/auth"
	"midge/broker"
	"midge/broker/process"
	"midge/conf"
	"midge/persist"
)

// What is set when the program is linked: the version, and for tests where
// hosts.allow and hosts.deny are.
var (
	version  = "unknown"
	hostsDir = "/etc"
)

func main() {
	os.Exit(run(os.Args, os.Stdout, os.Stderr))
}

// command is a parsed command line.
type command struct {
	files                  []string
	ports                  []int
	daemon, verbose, quiet bool
	help, showVersion      bool
	testing, checking      bool
	keyLog                 string
}

// usageError is a wrong command line. A stamped one goes out with the time in
// front, as the lines of the log do.
type usageError struct {
	text    string
	stamped bool
	usage   bool // the usage text follows
}

func (e *usageError) Error() string { return e.text }

// maxPorts is how many -p options there may be.
const maxPorts = 10

func run(args []string, stdout, stderr io.Writer) int {
	switch {
	case filepath.Base(args[0]) == "mosquitto_passwd":
		return passwd("mosquitto_passwd", true, args[1:], stdout, stderr)
	case len(args) > 1 && args[1] == "passwd":
		return passwd("midge passwd", false, args[2:], stdout, stderr)
	case len(args) > 1 && args[1] == "db":
		return persist.Command(args[2:], stdout, stderr)
	}
	cmd, err := parse(args[1:])
	var wrong *usageError
	switch {
	case errors.As(err, &wrong):
		if wrong.stamped {
			stamp(stderr, wrong.text)
		} else {
			fmt.Fprintln(stderr, wrong.text)
		}
		if wrong.usage {
			usage(stdout, args[0])
		}
		return conf.Exit
	case cmd.help:
		usage(stdout, args[0])
		return broker.ExitOK
	case cmd.showVersion:
		fmt.Fprintf(stdout, "mosquitto version %s\nCopyright © 2026 the midge authors.\nLicense MIT.\n", broker.Compatible(version))
		return broker.ExitOK
	}
	return start(cmd, stdout, stderr)
}

// passwd is the command that writes password files.
func passwd(name string, legacy bool, args []string, stdout, stderr io.Writer) int {
	c := auth.Passwd{Name: name, Legacy: legacy, Stdin: os.Stdin, Stdout: stdout, Stderr: stderr}
	return c.Run(args)
}

// start reads the configuration and runs the broker.
func start(cmd *command, stdout, stderr io.Writer) int {
	cfg, lines, err := conf.Load(cmd.files)
	for _, l := range lines {
		stamp(stderr, l.Text)
	}
	if err != nil {
		return refuse(err, stderr)
	}
	if cmd.testing {
		fmt.Fprintln(stdout, "Configuration file is OK.")
		return broker.ExitOK
	}
	who, lines, err := process.FindIdentity(cfg.User)
	for _, l := range lines {
		stamp(stderr, l.Text)
	}
	if err != nil {
		return refuse(err, stderr)
	}
	options := broker.Options{
		Version: version, Files: cmd.files, Ports: cmd.ports, Verbose: cmd.verbose, Quiet: cmd.quiet, KeyLog: cmd.keyLog,
		HostsDir: hostsDir,
	}
	if cmd.checking {
		return check(cfg, options, who, stdout, stderr)
	}
	if done, status := enter(cmd, who, stderr); done {
		return status
	}
	return broker.Run(cfg, options)
}

// enter makes the process what the broker is to be in: its umask, the background, its
// user. It is done where that failed, or where another process is in the background.
func enter(cmd *command, who process.Identity, stderr io.Writer) (done bool, status int) {
	if err := process.SetUmask(os.Getenv("UMASK_SET")); err != nil {
		stamp(stderr, "Error: UMASK_SET environment variable "+err.Error()+".")
		return true, conf.Exit
	}
	if cmd.daemon {
		started, err := process.Background()
		if err != nil {
			stamp(stderr, "Error: Unable to go into the background: "+err.Error())
			return true, broker.ExitFailed
		}
		if started {
			return true, broker.ExitOK
		}
	}
	if err := who.Become(); err != nil { // not before it is in the background, which takes the right to run the program
		return true, refuse(err, stderr)
	}
	return false, broker.ExitOK
}

// check looks at all that the configuration names, with the rights that the broker
// would have.
func check(cfg *conf.Config, o broker.Options, who process.Identity, stdout, stderr io.Writer) int {
	if err := who.Become(); err != nil {
		return refuse(err, stderr)
	}
	return broker.Check(cfg, o, stdout, func(line string) { stamp(stderr, line) })
}

// refuse prints why the configuration is no good and gives the exit status.
func refuse(err error, stderr io.Writer) int {
	var bad *conf.Error
	if !errors.As(err, &bad) {
		stamp(stderr, "Error: "+err.Error())
		return conf.Exit
	}
	for _, l := range bad.Lines {
		stamp(stderr, l.Text)
	}
	return bad.Code
}

// stamp prints a line as mosquitto does before its log is open.
func stamp(w io.Writer, text string) {
	fmt.Fprintf(w, "%d: %s\n", time.Now().Unix(), text)
}

// parse reads the arguments. Options are not clustered and values are words of
// their own.
func parse(args []string) (*command, error) {
	cmd := new(command)
	for i := 0; i < len(args); i++ {
		var err error
		switch args[i] {
		case "-c", "--config-file":
			i++
			var file string
			file, err = value("-c", "config file", args[i:])
			cmd.files = append(cmd.files, file)
		case "-p", "--port":
			i++
			err = cmd.addPort(args[i:])
		case "-d", "--daemon":
			cmd.daemon = true
		case "-h", "--help":
			cmd.help = true
			return cmd, nil
		case "-v", "--verbose":
			cmd.verbose = true
		case "-q", "--quiet":
			cmd.quiet = true
		case "--version":
			cmd.showVersion = true
			return cmd, nil
		case "--test-config":
			cmd.testing = true
		case "--check":
			cmd.checking = true
		case "--tls-keylog":
			i++
			cmd.keyLog, err = value("--tls-keylog", "file", args[i:])
		default:
			err = &usageError{text: "Error: Unknown option '" + args[i] + "'.", usage: true}
		}
		if err != nil {
			return nil, err
		}
	}
	if cmd.testing && len(cmd.files) == 0 {
		return nil, &usageError{text: "Please provide a configuration file to test."}
	}
	return cmd, nil
}

// value is the one of an option, at the front of rest.
func value(option, what string, rest []string) (string, error) {
	if len(rest) == 0 {
		return "", &usageError{text: "Error: " + option + " argument given, but no " + what + " specified.", stamped: true}
	}
	return rest[0], nil
}

// addPort takes the value of -p from the front of rest.
func (cmd *command) addPort(rest []string) error {
	text, err := value("-p", "port", rest)
	if err != nil {
		return err
	}
	if len(cmd.ports) == maxPorts {
		return &usageError{text: "Error: Only 10 ports can be specified on the command line.", stamped: true}
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		port = 0
	}
	if port < 1 || port > 65535 {
		return &usageError{text: fmt.Sprintf("Error: Invalid port specified (%d).", port), stamped: true}
	}
	cmd.ports = append(cmd.ports, port)
	return nil
}

// usage prints the help, under the name the program was called by.
func usage(w io.Writer, arg0 string) {
	name := "midge"
	if filepath.Base(arg0) == "mosquitto" {
		name = "mosquitto"
	}
	fmt.Fprintf(w, `mosquitto version %s

%s is an MQTT v5.0/v3.1.1/v3.1 broker.

Usage: %s [-c config_file] [-d] [-h] [-p port] [-q] [-v]
       [--tls-keylog file]
       %[2]s --test-config -c config_file
       %[2]s --check [-c config_file]
       %[2]s db [--all] [--json] file
       %[2]s passwd ...     (write a password file; "%[2]s passwd -h" tells how)

 -c : read the configuration from this file. May be given more than
      once: the settings of all files add up.
 -d : go into the background after the configuration was read.
 -h : show this help.
 -p : listen on this port of the loopback addresses. Has no effect
      when the configuration defines a listener.
 -q : log nothing, whatever the configuration says.
 -v : log everything, whatever the configuration says.
 --test-config : check the configuration file and exit.
 --check : check it and every file that it names, say who may connect
      from where, what is kept and which limits hold, and exit.
 --tls-keylog : add the secrets of TLS connections to this file, with
      which a network analyser can read them.
 --version : show the version and exit.
 db : show what a persistence file and its journal hold.

See https://mosquitto.org/ for more information.

`, broker.Compatible(version), name, name)
}
