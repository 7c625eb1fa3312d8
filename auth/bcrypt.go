package auth

import (
	"crypto/rand"

	"golang.org/x/crypto/bcrypt"
)

// bcryptCost is the cost of what the command writes, unless it is told otherwise.
const bcryptCost = bcrypt.DefaultCost

// bcryptSize is the length of a bcrypt hash: $2b$10$, 22 characters of salt, 31 of sum.
const bcryptSize = 7 + 22 + 31

func parseBcrypt(text string) (params, error) {
	if len(text) != bcryptSize || text[6] != '$' {
		return params{}, errHash
	}
	cost, err := bcrypt.Cost([]byte(text))
	if err != nil || cost > bcryptCostMax {
		return params{}, errHash
	}
	for _, c := range []byte(text[7:]) {
		if !bcryptLetter(c) {
			return params{}, errHash
		}
	}
	return params{rounds: uint32(cost)}, nil
}

func bcryptLetter(c byte) bool {
	return c == '.' || c == '/' || '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z'
}

// verifyBcrypt never accepts a password of which bcrypt would not see the end.
func verifyBcrypt(text string, password []byte) bool {
	seen := password[:min(len(password), bcryptMax)]
	return bcrypt.CompareHashAndPassword([]byte(text), seen) == nil && len(seen) == len(password)
}

func makeBcrypt(password []byte, cost int) (Hash, error) {
	text, err := bcrypt.GenerateFromPassword(password, cost)
	return Hash{Bcrypt, string(text)}, err
}

// randomBcrypt is a salt and a sum in bcrypt's letters.
func randomBcrypt() string {
	const letters = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	b := make([]byte, bcryptSize-7)
	rand.Read(b)
	for i := range b {
		b[i] = letters[b[i]%64]
	}
	return string(b)
}
