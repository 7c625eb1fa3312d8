module midge

go 1.26.0

require (
	github.com/tidwall/btree v1.8.2
	golang.org/x/crypto v0.59.0
	golang.org/x/sys v0.50.0
)

require golang.org/x/term v0.48.0
