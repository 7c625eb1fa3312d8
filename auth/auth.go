// Package auth says who may connect and what they may do: the password file with its
// hashes, the command that writes one, and the ACL file.
//
// A Hash is one entry's hash, in any of the formats that mosquitto and midge write:
// bcrypt, $6$, $7$ and $argon2id$. Passwords is a whole file, read and checked; it
// does not change any more, so that any goroutine may ask it. A file that has one
// bad line is refused as a whole, for a line that is skipped may be the one that
// somebody relied on. The command (Passwd) rewrites a file so that whoever reads
// it, at any moment and after any crash, finds the old one or the new one.
//
// ACL is a whole ACL file, in the same way; it is compiled into trees of levels
// (acltree.go), so that an answer takes about as long for many rules as for a few.
//
// Foreign bytes are read within limits: see the constants of hash.go,
// passwords.go, aclfile.go and file.go. Nothing here logs; what is to be said is
// returned as lines of the log, and no line has a password or a hash in it. When a
// password is verified, and who has to wait for it, is not decided here either, but in
// broker/login.
//
// Begin with Passwords and Hash for who may connect, with ACL for what they may do.
package auth

// stringMax is the longest user name, password or filter, in bytes: MQTT has no longer
// ones.
const stringMax = 65535
