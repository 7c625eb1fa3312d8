package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func write(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestTable(t *testing.T) {
	file := write(t, `
{"label":"1,000","broker":"a","ok":true,"us":10,"kb":2048}
{"label":"1,000","broker":"b","ok":true,"us":0.5,"kb":1024}
{"label":"2,000","broker":"a","ok":true,"us":12345.6}
{"label":"2,000","broker":"b","ok":false,"us":9}
{"label":"1,000","broker":"a","ok":true,"us":20,"kb":2048}
{"label":"1,000","broker":"b","ok":false,"us":7,"kb":1024}
{"label":"3,000","broker":"b","ok":true,"us":3}
`[1:])
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"-key", "us"}, `
| load | b, µs | a, µs | ratio | spread |
| --- | ---: | ---: | ---: | ---: |
| 1,000 | 0.50 (1 of 2 runs) | 15.0 | 1/30 | 67 % |
| 2,000 | failed | 12,346 | - | 0 % |
| 3,000 | 3.00 | - | - | 0 % |
`},
		{[]string{"-head", "n", "-unit", "MiB", "-divide", "1024", "-key", "kb=memory"}, `
| n | b, MiB | a, MiB | ratio | spread |
| --- | ---: | ---: | ---: | ---: |
| memory | 1.00 (1 of 2 runs) | 2.00 | 0.50 | 0 % |
`},
		{[]string{"-unit", "", "-key", "kb=memory of {load}, KiB"}, `
| load | b | a | ratio | spread |
| --- | ---: | ---: | ---: | ---: |
| memory of 1,000, KiB | 1,024 (1 of 2 runs) | 2,048 | 0.50 | 0 % |
`},
		{[]string{"-tsv", "-key", "us"}, `
# load	a, µs	b, µs
1000	15	0.5
2000	1.235e+04	?
3000	?	3
`},
	} {
		var out strings.Builder
		if code := table(append(c.args, file), &out); code != 0 || out.String() != c.want[1:] {
			t.Errorf("table %s: exit status %d\n%s", c.args, code, out.String())
		}
	}
}

func TestReadSpecs(t *testing.T) {
	specs, err := readSpecs(write(t, "# load | name\n\np2p -size 16  | ten pairs\nwild | wild\n"))
	if err != nil || len(specs) != 2 || specs[0] != (spec{"p2p -size 16", "ten pairs"}) || specs[1] != (spec{"wild", "wild"}) {
		t.Errorf("%q, %v", specs, err)
	}
	for _, text := range []string{"", "p2p -size 16\n"} {
		if _, err := readSpecs(write(t, text)); err == nil {
			t.Errorf("no error for %q", text)
		}
	}
}
