package auth

import (
	"bytes"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"strings"
)

// Kind is how a password was hashed.
type Kind uint8

// The kinds, by the names that -H of the command gives them.
const (
	Bcrypt   Kind = iota + 1 // $2a$, $2b$, $2y$
	SHA512                   // $6$: one round, of mosquitto before 2.0
	PBKDF2                   // $7$: PBKDF2 with HMAC-SHA512, of mosquitto since 2.0
	Argon2id                 // $argon2id$, of mosquitto 2.1
)

// Limits of what a hash may ask of us.
const (
	hashMax = 1024 // bytes of an entry's hash

	bcryptCostMax  = 16         // about 5 s
	iterationsMax  = 10_000_000 // of PBKDF2: about 10 s
	argonMemoryMax = 256 << 10  // KiB
	argonWorkMax   = 4 << 20    // KiB times passes: about 5 s
	argonLanesMax  = 64
)

// bcryptMax is how many bytes of a password bcrypt takes.
const bcryptMax = 72

// errHash is the error of every hash that cannot be used.
var errHash = errors.New("not a hash that can be used")

// Hash is the hash of a password, as it stands in a file. The zero Hash is of no
// password.
type Hash struct {
	kind Kind
	text string
}

// params is a hash taken apart.
type params struct {
	rounds    uint32 // iterations, passes, or bcrypt's cost
	memory    uint32 // KiB
	lanes     uint8
	salt, sum []byte
}

// ParseHash reads a hash as it stands in a password file. One that would take more
// time or memory than anybody wants is an error too.
func ParseHash(text string) (Hash, error) {
	h := Hash{kind: kindOf(text), text: text}
	if len(text) > hashMax || strings.ContainsAny(text, "\r\n") { // which base64 would skip
		return Hash{}, errHash
	}
	if _, err := h.parse(); err != nil {
		return Hash{}, err
	}
	return h, nil
}

// MakeHash hashes a password with a new salt, in a form that mosquitto reads too where
// it knows the kind. cost is bcrypt's cost or PBKDF2's iterations; 0 is the usual one.
// A password that the kind cannot take is an error.
func MakeHash(k Kind, password []byte, cost int) (Hash, error) {
	switch k {
	case Bcrypt:
		return makeBcrypt(password, orElse(cost, bcryptCost))
	case SHA512:
		return makeSHA512(password), nil
	case PBKDF2:
		return makePBKDF2(password, orElse(cost, pbkdf2Iterations)), nil
	case Argon2id:
		return makeArgon2id(password), nil
	}
	return Hash{}, errHash
}

func orElse(n, usual int) int {
	if n == 0 {
		return usual
	}
	return n
}

func kindOf(text string) Kind {
	switch {
	case strings.HasPrefix(text, "$6$"):
		return SHA512
	case strings.HasPrefix(text, "$7$"):
		return PBKDF2
	case strings.HasPrefix(text, "$argon2id$"):
		return Argon2id
	case strings.HasPrefix(text, "$2a$"), strings.HasPrefix(text, "$2b$"), strings.HasPrefix(text, "$2y$"):
		return Bcrypt
	}
	return 0
}

func (h Hash) parse() (params, error) {
	switch h.kind {
	case Bcrypt:
		return parseBcrypt(h.text)
	case SHA512:
		return parseSHA512(h.text)
	case PBKDF2:
		return parsePBKDF2(h.text)
	case Argon2id:
		return parseArgon2id(h.text)
	}
	return params{}, errHash
}

// String is the hash as it stands in a file.
func (h Hash) String() string { return h.text }

// Memory is what Verify needs, in bytes.
func (h Hash) Memory() int {
	if h.kind != Argon2id {
		return 8 << 10
	}
	p, err := h.parse()
	if err != nil {
		return 0
	}
	return int(p.memory) << 10
}

// Verify says whether it is the password's hash. It takes as long for a wrong
// password as for the right one. Only what stands before the first NUL counts, as in
// mosquitto, whose clients may send one at the end. An empty password is never right.
func (h Hash) Verify(password []byte) bool {
	password, _, _ = bytes.Cut(password, []byte{0})
	p, err := h.parse()
	if err != nil {
		return false
	}
	var same bool
	switch h.kind {
	case Bcrypt:
		same = verifyBcrypt(h.text, password)
	case SHA512:
		same = equal(p.sum, sha512Sum(password, p.salt))
	case PBKDF2:
		same = equal(p.sum, pbkdf2Sum(password, p.salt, p.rounds))
	case Argon2id:
		same = equal(p.sum, argon2idSum(password, p))
	}
	return same && len(password) > 0
}

func equal(a, b []byte) bool { return subtle.ConstantTimeCompare(a, b) == 1 }

// cost is the part of a hash that says how long it takes: all but salt and sum.
func (h Hash) cost() string {
	if h.kind == SHA512 {
		return "$6$"
	}
	parts := strings.Split(h.text, "$")
	keep := 3 // $7$101, $2b$10
	if h.kind == Argon2id {
		keep = 4
	}
	return strings.Join(parts[:min(keep, len(parts))], "$")
}

// decoy is a hash that takes as long as h and is of no password that anybody knows.
func (h Hash) decoy() Hash {
	p, err := h.parse()
	if err != nil {
		return Hash{}
	}
	rand.Read(p.salt)
	rand.Read(p.sum)
	switch h.kind {
	case Bcrypt:
		return Hash{Bcrypt, h.cost() + "$" + randomBcrypt()}
	case Argon2id:
		return Hash{Argon2id, h.cost() + "$" + unpadded(p.salt) + "$" + unpadded(p.sum)}
	}
	return Hash{h.kind, strings.TrimSuffix(h.cost(), "$") + "$" + padded(p.salt) + "$" + padded(p.sum)}
}

func padded(b []byte) string   { return base64.StdEncoding.EncodeToString(b) }
func unpadded(b []byte) string { return base64.RawStdEncoding.EncodeToString(b) }

// number reads decimal digits, without a sign or leading zeros, up to a maximum.
func number(s string, most uint32) (uint32, bool) {
	if s == "" || len(s) > 10 || s[0] == '0' && s != "0" {
		return 0, false
	}
	var n uint64
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + uint64(c-'0')
	}
	return uint32(min(n, uint64(most)+1)), n <= uint64(most)
}
