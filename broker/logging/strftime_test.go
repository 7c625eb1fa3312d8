package logging

import (
	"strings"
	"testing"
	"time"
)

// The wanted strings are what glibc's strftime gives in the C locale.
func TestStrftime(t *testing.T) {
	cet := time.FixedZone("CET", 3600)
	afternoon := time.Date(2023, 11, 14, 23, 13, 20, 987654321, cet)
	newYear := time.Date(2025, 1, 1, 1, 0, 1, 0, cet)
	for _, c := range []struct{ format, afternoon, newYear string }{
		{"%a|%A|%b|%B|%h", "Tue|Tuesday|Nov|November|Nov", "Wed|Wednesday|Jan|January|Jan"},
		{"%c", "Tue Nov 14 23:13:20 2023", "Wed Jan  1 01:00:01 2025"},
		{"%C|%d|%D|%e|%F", "20|14|11/14/23|14|2023-11-14", "20|01|01/01/25| 1|2025-01-01"},
		{"%g|%G|%H|%I|%j", "23|2023|23|11|318", "25|2025|01|01|001"},
		{"%k|%l|%m|%M", "23|11|11|13", " 1| 1|01|00"},
		{"%p|%P|%r|%R", "PM|pm|11:13:20 PM|23:13", "AM|am|01:00:01 AM|01:00"},
		{"%s|%S|%T|%u", "1700000000|20|23:13:20|2", "1735689601|01|01:00:01|3"},
		{"%U|%V|%w|%W", "46|46|2|46", "00|01|3|00"},
		{"%x|%X|%y|%Y", "11/14/23|23:13:20|23|2023", "01/01/25|01:00:01|25|2025"},
		{"%z|%Z", "+0100|CET", "+0100|CET"},
		{"%n|%t|%%", "\n|\t|%", "\n|\t|%"},
		{"%Y-%m-%dT%H:%M:%S%z", "2023-11-14T23:13:20+0100", "2025-01-01T01:00:01+0100"},

		// Flags and widths.
		{"%_d|%-d|%0e|%-e|%_H|%-m", "14|14|14|14|23|11", " 1|1|01|1| 1|1"},
		{"%0_d|%_0d", "14|14", " 1|01"},
		{"%^a|%#a|%#B|%#h|%^10B", "TUE|TUE|NOVEMBER|NOV|  NOVEMBER", "WED|WED|JANUARY|JAN|   JANUARY"},
		{"%#Z|%^#Z|%#p|%^p|%^P|%#P", "cet|cet|pm|PM|pm|pm", "cet|cet|am|AM|am|am"},
		{"%^c|%#c", "TUE NOV 14 23:13:20 2023|Tue Nov 14 23:13:20 2023", "WED JAN  1 01:00:01 2025|Wed Jan  1 01:00:01 2025"},
		{"%10d|%_10d|%-10d|%3e|%2j", "0000000014|        14|        14| 14|318", "0000000001|         1|         1|  1|001"},
		{"%10a|%010a|%-10a|%2A", "       Tue|0000000Tue|       Tue|Tuesday", "       Wed|0000000Wed|       Wed|Wednesday"},
		{"%_5Y|%6Y|%1Y|%012F|%-j", " 2023|002023|2023|002023-11-14|318", " 2025|002025|2025|002025-01-01|1"},
		{"%5%|%05%|%12s|%012s", "    %|0000%|  1700000000|001700000000", "    %|0000%|  1735689601|001735689601"},

		// Modifiers mean nothing where they are allowed.
		{"%Ey|%EY|%EC|%Od|%OB|%Oj|%Ok", "23|2023|20|14|November|318|23", "25|2025|20|01|January|001| 1"},
		{"%EH|%ES|%Oc|%OY", "%EH|%ES|%Oc|%OY", "%EH|%ES|%Oc|%OY"},

		// What is no conversion stays.
		{"", "", ""},
		{"plain", "plain", "plain"},
		{"%+|%f|%i|%N|%Q|%L|%v|%J|%é", "%+|%f|%i|%N|%Q|%L|%v|%J|%é", "%+|%f|%i|%N|%Q|%L|%v|%J|%é"},
		{"%d%", "14%", "01%"},
		{"%_", "%_", "%_"},
		{"%1|%5q|%^4Eb", "%1|  %5q|%^4EB", "%1|  %5q|%^4EB"},
		{"%E", "%E", "%E"},
	} {
		for when, want := range map[time.Time]string{afternoon: c.afternoon, newYear: c.newYear} {
			if got := string(appendStrftime(nil, c.format, when, 999)); got != want {
				t.Errorf("%q: got %q, want %q", c.format, got, want)
			}
		}
	}
}

func TestStrftimeWeeks(t *testing.T) {
	for _, c := range [][2]string{
		{"2020-01-05", "Sun 2020-20-01-7 U01 W00 w0 j005"},
		{"2021-01-03", "Sun 2020-20-53-7 U01 W00 w0 j003"},
		{"2021-01-04", "Mon 2021-21-01-1 U01 W01 w1 j004"},
		{"2022-12-31", "Sat 2022-22-52-6 U52 W52 w6 j365"},
		{"2023-01-01", "Sun 2022-22-52-7 U01 W00 w0 j001"},
		{"2024-12-29", "Sun 2024-24-52-7 U52 W52 w0 j364"},
		{"2024-12-30", "Mon 2025-25-01-1 U52 W53 w1 j365"},
		{"2024-12-31", "Tue 2025-25-01-2 U52 W53 w2 j366"},
		{"2026-02-28", "Sat 2026-26-09-6 U08 W08 w6 j059"},
	} {
		day, err := time.Parse("2006-01-02", c[0])
		if err != nil {
			t.Fatal(err)
		}
		if got := string(appendStrftime(nil, "%a %G-%g-%V-%u U%U W%W w%w j%j", day, 999)); got != c[1] {
			t.Errorf("%s: got %q, want %q", c[0], got, c[1])
		}
	}
}

// The twelve-hour clock has no hour 0.
func TestStrftimeTwelveHours(t *testing.T) {
	want := []string{"12 AM", "01 AM", "11 AM", "12 PM", "01 PM", "11 PM"}
	for i, hour := range []int{0, 1, 11, 12, 13, 23} {
		at := time.Date(2025, 1, 1, hour, 0, 0, 0, time.UTC)
		if got := string(appendStrftime(nil, "%I %p", at, 999)); got != want[i] {
			t.Errorf("hour %d: got %q, want %q", hour, got, want[i])
		}
	}
}

func TestStrftimeIsBounded(t *testing.T) {
	now := time.Unix(0, 0)
	for _, format := range []string{
		"%999999999999999999999d",
		strings.Repeat("%900a", 1000),
		strings.Repeat("%c", 1000),
	} {
		n := len(appendStrftime([]byte("before"), format, now, 100)) - len("before")
		if n <= 100 {
			t.Errorf("%.20q: stopped after %d bytes, within the limit", format, n)
		}
		if n > 1000 {
			t.Errorf("%.20q: went on for %d bytes", format, n)
		}
	}
}

func FuzzStrftime(f *testing.F) {
	f.Add("%Y-%m-%d %H:%M:%S %Z", int64(1700000000))
	f.Add("%^#_-010Ec%E%O%", int64(-1))
	f.Add("%1001A", int64(0))
	f.Fuzz(func(t *testing.T, format string, sec int64) {
		at := time.Unix(sec%(1<<40), 0).UTC()
		got := string(appendStrftime(nil, format, at, 999))
		if !strings.Contains(format, "%") && len(format) < 999 && got != format {
			t.Errorf("text was changed: %q, from %q", got, format)
		}
		if again := string(appendStrftime([]byte("x"), format, at, 999)); again != "x"+got {
			t.Errorf("what stands before matters: %q, not %q", again, got)
		}
	})
}
