package core

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"midge/broker/internal/script"
	"midge/packet"
)

var rewrite = flag.Bool("rewrite", false, "write what happened into the scripts")

// scriptFiles are the scripts by their names without folder and end.
func scriptFiles(t testing.TB) map[string]string {
	files, err := filepath.Glob("testdata/scripts/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	named := map[string]string{}
	for _, file := range files {
		named[strings.TrimSuffix(filepath.Base(file), ".txt")] = file
	}
	return named
}

func readScript(t testing.TB, file string) (text string, cases []*script.Case) {
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if cases, err = script.Parse(file, string(b)); err != nil {
		t.Fatal(err)
	}
	if len(cases) == 0 {
		t.Fatalf("%s: no cases", file)
	}
	return string(b), cases
}

// TestScripts runs every case of testdata/scripts for each of its versions and in
// each way its bytes may arrive. The name of a run is file/case/version/mode.
func TestScripts(t *testing.T) {
	for name, file := range scriptFiles(t) {
		t.Run(name, func(t *testing.T) {
			text, cases := readScript(t, file)
			if *rewrite {
				rewriteScript(t, file, text, cases)
				return
			}
			for _, c := range cases {
				t.Run(c.Name, func(t *testing.T) { runCase(t, c) })
			}
		})
	}
}

func runCase(t *testing.T, c *script.Case) {
	for _, v := range c.Versions {
		for _, m := range c.Modes {
			t.Run(fmt.Sprintf("v%d/%v", v, m), func(t *testing.T) {
				target := newTarget()
				if err := c.Run(target, v, m); err != nil {
					t.Fatal(err)
				}
				if err := target.finish(); err != nil {
					t.Fatalf("%s:%d: at the end: %v", c.File, c.Line, err)
				}
			})
		}
	}
}

func rewriteScript(t *testing.T, file, text string, cases []*script.Case) {
	fresh := func(*script.Case, packet.Version) (script.Target, error) { return newTarget(), nil }
	out, wrong := script.Rewrite(text, cases, fresh)
	if out != "" && out != text {
		t.Logf("%s is written anew", file)
		if err := os.WriteFile(file, []byte(out), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if wrong != nil {
		t.Fatal(wrong)
	}
}
