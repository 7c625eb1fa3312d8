package auth

import (
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha512"
	"encoding/base64"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"
)

// mosquitto's own formats:
//
//	$6$ salt $ sum                                        SHA-512 of password and salt
//	$7$ iterations $ salt $ sum                           PBKDF2 with HMAC-SHA512
//	$argon2id$ v=19 $ m=KiB,t=passes,p=lanes $ salt $ sum
//
// Salt and sum are base64, padded but for Argon2. The salts of the first two have 12
// bytes up to mosquitto 2.0, which reads no other, and 64 in 2.1.

const (
	shortSalt = 12
	longSalt  = 64

	// What mosquitto 2.1 writes.
	pbkdf2Iterations = 1000
	argonMemory      = 47104
)

func parseSHA512(text string) (params, error) {
	return parseSalted(strings.TrimPrefix(text, "$6$"), params{})
}

func parsePBKDF2(text string) (params, error) {
	rounds, rest, _ := strings.Cut(strings.TrimPrefix(text, "$7$"), "$")
	n, ok := number(rounds, iterationsMax)
	if !ok || n < 1 {
		return params{}, errHash
	}
	return parseSalted(rest, params{rounds: n})
}

// parseSalted reads the padded salt and sum.
func parseSalted(text string, p params) (params, error) {
	salt, sum, _ := strings.Cut(text, "$")
	var err1, err2 error
	p.salt, err1 = base64.StdEncoding.Strict().DecodeString(salt)
	p.sum, err2 = base64.StdEncoding.Strict().DecodeString(sum)
	if err1 != nil || err2 != nil || len(p.salt) != shortSalt && len(p.salt) != longSalt || len(p.sum) != sha512.Size {
		return params{}, errHash
	}
	return p, nil
}

func sha512Sum(password, salt []byte) []byte {
	h := sha512.New()
	h.Write(password)
	h.Write(salt)
	return h.Sum(nil)
}

func pbkdf2Sum(password, salt []byte, rounds uint32) []byte {
	sum, err := pbkdf2.Key(sha512.New, string(password), salt, int(rounds), sha512.Size)
	if err != nil { // for none of our sizes
		return nil
	}
	return sum
}

func parseArgon2id(text string) (params, error) {
	part := strings.Split(text, "$") // "", argon2id, v=19, m=..., salt, sum
	if len(part) != 6 || part[2] != "v=19" {
		return params{}, errHash
	}
	p, err := parseArgonCosts(part[3])
	if err != nil {
		return params{}, err
	}
	var err1, err2 error
	p.salt, err1 = base64.RawStdEncoding.Strict().DecodeString(part[4])
	p.sum, err2 = base64.RawStdEncoding.Strict().DecodeString(part[5])
	if err1 != nil || err2 != nil || len(p.salt) < 8 || len(p.sum) < 12 {
		return params{}, errHash
	}
	return p, nil
}

// parseArgonCosts reads m=47104,t=1,p=1.
func parseArgonCosts(text string) (params, error) {
	word := strings.Split(text, ",")
	if len(word) != 3 {
		return params{}, errHash
	}
	var n [3]uint32
	for i, most := range [3]uint32{argonMemoryMax, argonWorkMax, argonLanesMax} {
		digits, named := strings.CutPrefix(word[i], "mtp"[i:i+1]+"=")
		v, ok := number(digits, most)
		if !named || !ok || v < 1 {
			return params{}, errHash
		}
		n[i] = v
	}
	if n[0] < 8*n[2] || uint64(n[0])*uint64(n[1]) > argonWorkMax {
		return params{}, errHash
	}
	return params{memory: n[0], rounds: n[1], lanes: uint8(n[2])}, nil
}

func argon2idSum(password []byte, p params) []byte {
	return argon2.IDKey(password, p.salt, p.rounds, p.memory, p.lanes, uint32(len(p.sum)))
}

func makeSHA512(password []byte) Hash {
	salt := random(shortSalt)
	return Hash{SHA512, "$6$" + padded(salt) + "$" + padded(sha512Sum(password, salt))}
}

func makePBKDF2(password []byte, iterations int) Hash {
	salt := random(shortSalt)
	return Hash{PBKDF2, fmt.Sprintf("$7$%d$%s$%s", iterations, padded(salt), padded(pbkdf2Sum(password, salt, uint32(iterations))))}
}

func makeArgon2id(password []byte) Hash {
	p := params{memory: argonMemory, rounds: 1, lanes: 1, salt: random(longSalt), sum: make([]byte, longSalt)}
	return Hash{Argon2id, fmt.Sprintf("$argon2id$v=19$m=%d,t=1,p=1$%s$%s", argonMemory, unpadded(p.salt), unpadded(argon2idSum(password, p)))}
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}
