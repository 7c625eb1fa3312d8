package logging

import (
	"strconv"
	"strings"
	"time"
)

// appendStrftime appends t, in its own location, as C's strftime would write
// it in the C locale. All conversions of POSIX are known, glibc's k, l, P and
// s, its flags _ - 0 ^ # and a width, and the modifiers E and O, which mean
// nothing in that locale. What is no conversion is copied. Once more than limit
// bytes were appended it may stop.
func appendStrftime(dst []byte, format string, t time.Time, limit int) []byte {
	start := len(dst)
	for format != "" && len(dst)-start <= limit {
		text, rest, found := strings.Cut(format, "%")
		dst = append(dst, text...)
		if !found {
			break
		}
		c, n := parseConversion(rest, limit+1)
		dst = c.append(dst, t, "%"+rest[:n])
		format = rest[n:]
	}
	return dst
}

// conversion is one %-sequence: %[flags][width][modifier]name.
type conversion struct {
	name     byte // 0 if the format ends before it, or the modifier does not fit
	pad      byte // '_' with spaces, '0' with zeros, '-' not at all, 0 as usual
	upper    bool // ^
	opposite bool // #
	width    int  // least number of bytes, 0 if not given
}

// Conversions that have no form with the modifier in question.
const (
	neverE = "abdeghjklmwABDFGHIMSUVW"
	neverO = "acxADFXY"
)

// parseConversion reads what follows a '%' and returns how much of it there
// was. A width is cut at widthMax.
func parseConversion(s string, widthMax int) (c conversion, n int) {
	for ; n < len(s) && strings.IndexByte("_-0^#", s[n]) >= 0; n++ {
		switch s[n] {
		case '^':
			c.upper = true
		case '#':
			c.opposite = true
		default:
			c.pad = s[n]
		}
	}
	for ; n < len(s) && '0' <= s[n] && s[n] <= '9'; n++ {
		c.width = min(c.width*10+int(s[n]-'0'), widthMax)
	}
	never := ""
	if n < len(s) && s[n] == 'E' {
		never = neverE
		n++
	} else if n < len(s) && s[n] == 'O' {
		never = neverO
		n++
	}
	if n < len(s) {
		if strings.IndexByte(never, s[n]) < 0 {
			c.name = s[n]
		}
		n++
	}
	return c, n
}

// append appends the value of c at t, or verbatim if there is no such
// conversion. Flags and width count for both, but z knows only the width.
func (c conversion) append(dst []byte, t time.Time, verbatim string) []byte {
	if n, digits, pad := numberOf(c.name, t); digits > 0 {
		return c.number(dst, n, digits, pad)
	}
	if format := combination(c.name); format != "" {
		return c.several(dst, format, t)
	}
	switch c.name {
	case 'a':
		return c.word(dst, t.Weekday().String()[:3])
	case 'A':
		return c.word(dst, t.Weekday().String())
	case 'b', 'h':
		return c.word(dst, t.Month().String()[:3])
	case 'B':
		return c.word(dst, t.Month().String())
	case 'p':
		if c.opposite {
			return c.text(dst, strings.ToLower(t.Format("PM")))
		}
		return c.text(dst, t.Format("PM"))
	case 'P':
		c.upper = false
		return c.text(dst, t.Format("pm"))
	case 'Z':
		zone, _ := t.Zone()
		if c.opposite {
			c.upper, zone = false, strings.ToLower(zone)
		}
		return c.text(dst, zone)
	case 's':
		return c.text(dst, strconv.FormatInt(t.Unix(), 10))
	case 'z':
		return c.text(dst, t.Format("-0700"))
	case 'n':
		return c.text(dst, "\n")
	case 't':
		return c.text(dst, "\t")
	case '%':
		return c.text(dst, "%")
	}
	return c.text(dst, verbatim)
}

// numberOf is the value at t of a conversion to a number, its least digits and what
// they are padded with; no digits are for another conversion.
func numberOf(name byte, t time.Time) (n, digits int, pad byte) {
	hour12 := (t.Hour()+11)%12 + 1
	isoYear, isoWeek := t.ISOWeek()
	weekday := int(t.Weekday()) // Sunday is 0
	monday := (weekday + 6) % 7 // Monday is 0
	switch name {
	case 'C':
		return t.Year() / 100, 2, '0'
	case 'd':
		return t.Day(), 2, '0'
	case 'e':
		return t.Day(), 2, '_'
	case 'g':
		return isoYear % 100, 2, '0'
	case 'G':
		return isoYear, 4, '0'
	case 'H':
		return t.Hour(), 2, '0'
	case 'I':
		return hour12, 2, '0'
	case 'j':
		return t.YearDay(), 3, '0'
	case 'k':
		return t.Hour(), 2, '_'
	case 'l':
		return hour12, 2, '_'
	case 'm':
		return int(t.Month()), 2, '0'
	case 'M':
		return t.Minute(), 2, '0'
	case 'S':
		return t.Second(), 2, '0'
	case 'u':
		return monday + 1, 1, '0'
	case 'U':
		return (t.YearDay() + 6 - weekday) / 7, 2, '0'
	case 'V':
		return isoWeek, 2, '0'
	case 'w':
		return weekday, 1, '0'
	case 'W':
		return (t.YearDay() + 6 - monday) / 7, 2, '0'
	case 'y':
		return t.Year() % 100, 2, '0'
	case 'Y':
		return t.Year(), 4, '0'
	}
	return 0, 0, 0
}

// combination is the format that a conversion stands for, or "".
func combination(name byte) string {
	switch name {
	case 'c':
		return "%a %b %e %H:%M:%S %Y"
	case 'D', 'x':
		return "%m/%d/%y"
	case 'F':
		return "%Y-%m-%d"
	case 'r':
		return "%I:%M:%S %p"
	case 'R':
		return "%H:%M"
	case 'T', 'X':
		return "%H:%M:%S"
	}
	return ""
}

// word appends a name, which # turns to upper case.
func (c conversion) word(dst []byte, s string) []byte {
	c.upper = c.upper || c.opposite
	return c.text(dst, s)
}

// several appends a combination, padded as a whole.
func (c conversion) several(dst []byte, format string, t time.Time) []byte {
	const longest = 64 // of the combinations above, with room
	return c.text(dst, string(appendStrftime(nil, format, t, longest)))
}

// text appends s, padded with spaces unless zeros are asked for.
func (c conversion) text(dst []byte, s string) []byte {
	if c.upper {
		s = strings.ToUpper(s)
	}
	dst = appendPad(dst, c.pad, c.width-len(s))
	return append(dst, s...)
}

// number appends n with at least the given digits, padded with pad where no
// flag says otherwise.
func (c conversion) number(dst []byte, n, digits int, pad byte) []byte {
	s := strconv.Itoa(n)
	switch c.pad {
	case '-':
		digits, pad = 0, '_'
	case '_', '0':
		pad = c.pad
	}
	dst = appendPad(dst, pad, max(c.width, digits)-len(s))
	return append(dst, s...)
}

func appendPad(dst []byte, pad byte, n int) []byte {
	if pad != '0' {
		pad = ' '
	}
	for range n {
		dst = append(dst, pad)
	}
	return dst
}
