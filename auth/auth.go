// Package auth says who may connect: the password file with its hashes, and the
// command that writes one.
//
// A Hash is one entry's hash, in any of the formats that mosquitto and midge write:
// bcrypt, $6$, $7$ and $argon2id$. Passwords is a whole file, read and checked; it
// does not change any more, so that any goroutine may ask it. A file that has one
// bad line is refused as a whole, for a line that is skipped may be the one that
// somebody relied on. The command (Passwd) rewrites a file so that whoever reads
// it, at any moment and after any crash, finds the old one or the new one.
//
// Foreign bytes are read within limits: see the constants of hash.go and
// passwords.go. Nothing here logs; what is to be said is returned as lines of the
// log, and no line has a password or a hash in it.
package auth
