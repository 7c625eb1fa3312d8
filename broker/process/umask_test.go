package process

import "testing"

func TestParseUmask(t *testing.T) {
	t.Parallel()
	for octal, want := range map[string]struct {
		mask int
		err  error
	}{
		"0":                         {0, nil},
		"027":                       {0o27, nil},
		"0777":                      {0o777, nil},
		"1000":                      {0, errUmaskRange},
		"9":                         {0, errUmaskDigits},
		"-1":                        {0, errUmaskDigits},
		"7x":                        {0, errUmaskDigits},
		"7777777777777777777777777": {0, errUmaskRange},
	} {
		if mask, err := parseUmask(octal); mask != want.mask || err != want.err {
			t.Errorf("%s: %o, %v", octal, mask, err)
		}
	}
}
