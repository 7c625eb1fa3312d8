package packet

import (
	"math/rand/v2"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// slowString does validString's work a rune at a time.
func slowString(b []byte) bool { return utf8.Valid(b) && !strings.ContainsRune(string(b), 0) }

// slowName does validName's work a rune at a time, with Unicode's own tables.
func slowName(b []byte) bool {
	return slowString(b) && !strings.ContainsFunc(string(b), func(r rune) bool {
		return unicode.Is(unicode.Cc, r) || unicode.Is(unicode.Noncharacter_Code_Point, r)
	})
}

func checkText(t *testing.T, b []byte) {
	t.Helper()
	if got, want := validString(b), slowString(b); got != want {
		t.Fatalf("ValidString(% x) = %v", b, got)
	}
	if got, want := validName(b), slowName(b); got != want {
		t.Fatalf("ValidName(% x) = %v", b, got)
	}
}

// Every byte, and every pair, at every place of a word.
func TestTextBytes(t *testing.T) {
	for before := range 9 {
		for after := range 9 {
			b := []byte(strings.Repeat("a", before) + "  " + strings.Repeat("z", after))
			for x := range 256 {
				b[before] = byte(x)
				b[before+1] = ' '
				checkText(t, b)
				if before == after { // pairs over 9 places are enough
					for y := range 256 {
						b[before+1] = byte(y)
						checkText(t, b)
					}
				}
			}
		}
	}
}

// Every code point, alone and inside plain text; those that are none, too.
func TestTextRunes(t *testing.T) {
	for r := rune(0); r <= 0x110000; r++ {
		var b []byte
		switch {
		case r >= 0xD800 && r <= 0xDFFF:
			b = []byte{0xE0 | byte(r>>12), 0x80 | byte(r>>6)&0x3F, 0x80 | byte(r)&0x3F}
		case r > unicode.MaxRune:
			b = []byte{0xF4, 0x90, 0x80, 0x80}
		default:
			b = utf8.AppendRune(nil, r)
		}
		checkText(t, b)
		if r%257 == 0 || r < 0x3000 {
			checkText(t, []byte("fleet/"+string(b)+"/engine"))
		}
	}
}

func TestTextCases(t *testing.T) {
	for _, in := range badStrings {
		if b := wire(in); validString(b) || validName(b) {
			t.Errorf("%s passes", in)
		}
	}
	for _, in := range badNames {
		if b := wire(in); !validString(b) || validName(b) {
			t.Errorf("%s: string %v, name %v", in, validString(b), validName(b))
		}
	}
	for _, in := range []string{"", " ", "a/b", "~", "+/#", "$SYS", "übergröße", "\u00A0", "\uFEFFa", "\uFFFD", "\uFDCF\uFDF0", "\U0002A6D4", "\U0010FFFD"} {
		if !validString([]byte(in)) || !validName([]byte(in)) {
			t.Errorf("%q is refused", in)
		}
	}
}

func TestTextRandom(t *testing.T) {
	const seed = 11
	random := rand.New(rand.NewPCG(seed, seed))
	pieces := []string{"a", "temperature", "ü", "€", "\U0001F600", "\x00", "\x1f", "\x7f", "\u0085", "\uFFFF", "\xC3", "\xED\xA0\x80", "\x80", " "}
	for range 20000 {
		var b []byte
		for range random.IntN(8) {
			piece := pieces[random.IntN(len(pieces))]
			if random.IntN(3) > 0 {
				piece = pieces[random.IntN(5)]
			}
			b = append(b, piece...)
		}
		checkText(t, b)
	}
}
