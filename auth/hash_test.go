package auth

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// vectors are lines that mosquitto_passwd wrote, and the passwords.
func vectors(t testing.TB) map[string]string {
	t.Helper()
	password := map[string]string{
		"alice": "secret", "bob": "correct horse battery staple", "ürsula": "pässwörd-雪", "with space": " lead and trail ",
		"dave": "", "iter1": "secret", "iter20000": "secret", "iter5": "secret", "colon": "a:b$c",
	}
	files, _ := filepath.Glob("testdata/vectors/*.pw")
	if len(files) != 6 {
		t.Fatalf("%d files of vectors", len(files))
	}
	all := make(map[string]string)
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(data)) {
			user, hash, _ := strings.Cut(strings.TrimSpace(line), ":")
			word, ok := password[user]
			if !ok {
				t.Fatalf("%s: no password of %q", name, user)
			}
			all[hash] = word
		}
	}
	return all
}

// TestVectors verifies what mosquitto's own command wrote.
func TestVectors(t *testing.T) {
	for text, password := range vectors(t) {
		h, err := ParseHash(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got, want := h.Verify([]byte(password)), password != ""; got != want {
			t.Errorf("%s: %q: %v", text, password, got)
		}
		if h.Verify([]byte(password + "x")) {
			t.Errorf("%s: %qx is right", text, password)
		}
		if h.String() != text {
			t.Errorf("%s became %s", text, h)
		}
	}
}

// TestBcrypt: each of its prefixes, and the 72 bytes it sees of a password.
func TestBcrypt(t *testing.T) {
	long := strings.Repeat("x", bcryptMax)
	made, err := makeBcrypt([]byte(long), 4)
	if err != nil {
		t.Fatal(err)
	}
	for _, minor := range []string{"$2a$", "$2b$", "$2y$"} {
		h, err := ParseHash(minor + made.text[4:])
		if err != nil {
			t.Fatal(err)
		}
		if !h.Verify([]byte(long)) {
			t.Errorf("%s: 72 bytes are not accepted", minor)
		}
		if h.Verify([]byte(long + "x")) {
			t.Errorf("%s: 73 bytes are accepted", minor)
		}
		if h.Verify([]byte(long[1:])) {
			t.Errorf("%s: 71 bytes are accepted", minor)
		}
	}
}

// TestKnownBcrypt has hashes that other programs made.
func TestKnownBcrypt(t *testing.T) {
	for _, tt := range []struct{ password, hash string }{
		// OpenBSD's test vectors.
		{"U*U", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"},
		{"U*U*", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.VGOzA784oUp/Z0DY336zx7pLYAy0lwK"},
		{"U*U*U", "$2a$05$XXXXXXXXXXXXXXXXXXXXXOAcXxm9kjPGEMsLznoKqmqw7tc8WCx4a"},
	} {
		h, err := ParseHash(tt.hash)
		if err != nil || !h.Verify([]byte(tt.password)) {
			t.Errorf("%s: %v", tt.password, err)
		}
	}
}

// TestMakeHash makes one of each kind, and reads it back.
func TestMakeHash(t *testing.T) {
	for kind, start := range map[Kind]string{Bcrypt: "$2a$10$", SHA512: "$6$", PBKDF2: "$7$1000$", Argon2id: "$argon2id$v=19$m=47104,t=1,p=1$"} {
		h, err := MakeHash(kind, []byte("pässwörd"), 0)
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseHash(h.String())
		if err != nil || again.kind != kind || !strings.HasPrefix(again.String(), start) || !again.Verify([]byte("pässwörd")) {
			t.Errorf("%s: %v", h, err)
		}
		if other, _ := MakeHash(kind, []byte("pässwörd"), 0); other == h {
			t.Error("the same salt twice")
		}
	}
	if _, err := MakeHash(Bcrypt, make([]byte, bcryptMax+1), 4); err == nil {
		t.Error("bcrypt takes 73 bytes")
	}
	if _, err := MakeHash(0, nil, 0); err == nil {
		t.Error("a hash of no kind")
	}
}

// TestNUL: mosquitto's clients may send the end of a C string.
func TestNUL(t *testing.T) {
	bcrypted, _ := makeBcrypt([]byte("secret"), 4)
	for _, h := range []Hash{bcrypted, makeSHA512([]byte("secret")), makePBKDF2([]byte("secret"), 2)} {
		for password, want := range map[string]bool{"secret": true, "secret\x00": true, "secret\x00junk": true, "\x00secret": false, "": false} {
			if h.Verify([]byte(password)) != want {
				t.Errorf("%s: %q is %v", h, password, !want)
			}
		}
	}
	empty := makePBKDF2(nil, 2)
	if empty.Verify(nil) || empty.Verify([]byte{0}) {
		t.Error("the empty password is accepted")
	}
}

// TestLongPassword: the longest MQTT has are nothing special but for bcrypt.
func TestLongPassword(t *testing.T) {
	long := []byte(strings.Repeat("\xff\x01 ü", 65535/5))
	for _, h := range []Hash{makeSHA512(long), makePBKDF2(long, 2)} {
		if !h.Verify(long) || h.Verify(long[1:]) || h.Verify(long[:len(long)-1]) {
			t.Errorf("%s", h)
		}
	}
}

func TestBadHashes(t *testing.T) {
	sum := strings.Repeat("A", 86) + "=="
	salt := strings.Repeat("A", 16)
	raw := strings.Repeat("A", 86)
	bcrypted := "$2b$10$" + strings.Repeat("a", 53)
	good := []string{"$6$" + salt + "$" + sum, "$7$1$" + salt + "$" + sum, "$7$10000000$" + salt + "$" + sum, bcrypted,
		"$argon2id$v=19$m=8,t=1,p=1$" + raw + "$" + raw, "$argon2id$v=19$m=262144,t=16,p=64$" + raw + "$" + raw}
	for _, text := range good {
		if _, err := ParseHash(text); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
	bad := []string{"", "secret", "$", "$5$" + salt + "$AAAA", "$6$" + salt, "$6$" + salt + "$AAAA", "$6$" + salt + "$" + sum + "$",
		"$7$0$" + salt + "$" + sum, "$7$101$AAAA$" + sum, "$7$101$!!!!!!!!!!!!!!!!$" + sum, "$7$-1$" + salt + "$" + sum,
		"$7$+1$" + salt + "$" + sum, "$7$01$" + salt + "$" + sum, "$7$10000001$" + salt + "$" + sum,
		"$7$99999999999$" + salt + "$" + sum, "$7$$" + salt + "$" + sum, "$7$1 $" + salt + "$" + sum, "$7$1$" + salt, "$7$1",
		"$7$1$" + salt + "$" + raw, "$6$AAAA\nAAAAAAAAAAAA$" + sum,
		bcrypted[:59], bcrypted + "a", "$2x$" + bcrypted[4:], "$2$" + bcrypted[3:], "$2b$17" + bcrypted[6:], "$2b$03" + bcrypted[6:],
		"$2b$1x" + bcrypted[6:], "$2b$10$" + strings.Repeat("a", 52) + "!",
		"$argon2i$v=19$m=8,t=1,p=1$" + raw + "$" + raw, "$argon2id$v=16$m=8,t=1,p=1$" + raw + "$" + raw, "$argon2id$m=8,t=1,p=1$" + raw + "$" + raw,
		"$argon2id$v=19$m=7,t=1,p=1$" + raw + "$" + raw, "$argon2id$v=19$m=262145,t=1,p=1$" + raw + "$" + raw,
		"$argon2id$v=19$m=262144,t=17,p=1$" + raw + "$" + raw, "$argon2id$v=19$m=47104,t=0,p=1$" + raw + "$" + raw,
		"$argon2id$v=19$m=47104,t=1,p=0$" + raw + "$" + raw, "$argon2id$v=19$m=47104,t=1,p=65$" + raw + "$" + raw,
		"$argon2id$v=19$t=1,m=47104,p=1$" + raw + "$" + raw, "$argon2id$v=19$m=47104,t=1$" + raw + "$" + raw,
		"$argon2id$v=19$m=47104,t=1,p=1$" + raw + "$" + raw + "==", "$argon2id$v=19$m=47104,t=1,p=1$AAAA$" + raw, "$argon2id$v=19$m=47104,t=1,p=1$" + raw,
		"$argon2id$v=19$m=47104,t=1,p=1$" + strings.Repeat("A", 1000) + "$" + raw}
	for _, text := range bad {
		if _, err := ParseHash(text); err == nil {
			t.Errorf("%s is taken", text)
		}
	}
}

// TestDecoy: a decoy costs what its model costs, and is of no password.
func TestDecoy(t *testing.T) {
	for text, password := range vectors(t) {
		h, err := ParseHash(text)
		if err != nil {
			t.Fatal(err)
		}
		d := h.decoy()
		if _, err := ParseHash(d.text); err != nil {
			t.Errorf("%s became %s", text, d)
		}
		if d.cost() != h.cost() || d.Memory() != h.Memory() || d.text == h.text || len(d.text) != len(h.text) {
			t.Errorf("%s became %s", text, d)
		}
		if h.kind != Argon2id && d.Verify([]byte(password)) {
			t.Errorf("%s is of %q", d, password)
		}
	}
	h, _ := makeBcrypt([]byte("x"), 5)
	if d := h.decoy(); d.cost() != "$2a$05" || d.Verify([]byte("x")) {
		t.Errorf("%s became %s", h, d)
	}
}

func FuzzParseHash(f *testing.F) {
	for text := range vectors(f) {
		f.Add(text)
	}
	f.Add("$2b$10$" + strings.Repeat("a", 53))
	f.Fuzz(func(t *testing.T, text string) {
		h, err := ParseHash(text)
		if err != nil {
			return
		}
		if h.text != text || h.Memory() > argonMemoryMax<<10 || h.Memory() == 0 {
			t.Fatalf("%q: %+v of %d bytes", text, h, h.Memory())
		}
		if d, err := ParseHash(h.decoy().text); err != nil || d.cost() != h.cost() {
			t.Fatalf("%q has the decoy %q", text, d.text)
		}
	})
}
