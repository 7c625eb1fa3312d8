package process

import (
	"errors"
	"io/fs"
	"os/user"
	"reflect"
	"testing"

	"midge/conf"
)

// TestIdentity: every line of giving up root's rights, and its exit status.
func TestIdentity(t *testing.T) {
	t.Parallel()
	const (
		root        = "Warning: Mosquitto should not be run as root/administrator."
		fallback    = "Warning: Unable to drop privileges to 'mosquitto' because this user does not exist. Trying 'nobody' instead."
		nobodyAtAll = "Error: Unable to drop privileges to 'nobody'.\n" +
			"Error: Set PUID and PGID to the numbers of a user and a group, or start as another user than root, " +
			"or let the configuration say whom to become ('user root' for root)."
	)
	mosquitto, nobody := Identity{102, 105, []int{105, 4}}, Identity{65534, 65534, []int{65534}}
	debian := map[string]Identity{"mosquitto": mosquitto, "nobody": nobody, "toor": {0, 0, []int{0}}, "root": {0, 0, []int{0}}}
	bare := map[string]Identity{"nobody": nobody}
	for _, tt := range []struct {
		name  string
		env   map[string]string
		has   map[string]Identity
		user  string
		euid  int
		want  Identity
		lines []string
		err   string
	}{
		{name: "not root", has: debian, user: "mosquitto", euid: 1000},
		{name: "not root, no such user", has: debian, user: "gone", euid: 1000},
		{name: "not root, numbers", env: map[string]string{"PUID": "x"}, has: debian, user: "gone", euid: 1000},
		{name: "default", has: debian, user: "mosquitto", want: mosquitto},
		{name: "another", has: debian, user: "nobody", want: nobody},
		{name: "root", has: debian, user: "root", lines: []string{root}},
		{name: "root by another name", has: debian, user: "toor", want: debian["toor"], lines: []string{root}},
		{name: "no such user", has: debian, user: "gone",
			err: "Error: Unable to drop privileges to 'gone' because this user does not exist."},
		{name: "no default", has: bare, user: "mosquitto", want: nobody, lines: []string{fallback}},
		{name: "nobody", user: "mosquitto", has: map[string]Identity{}, lines: []string{fallback}, err: nobodyAtAll},
		{name: "no list of users", user: "mosquitto", lines: []string{fallback}, err: nobodyAtAll},
		{name: "snap", env: map[string]string{"SNAP_NAME": "mosquitto", "PUID": "7"}, has: debian, user: "gone"},
		{name: "another snap", env: map[string]string{"SNAP_NAME": "midge"}, has: debian, user: "mosquitto", want: mosquitto},
		{name: "numbers", env: map[string]string{"PUID": "1883", "PGID": "1884"}, has: debian, user: "gone", want: Identity{1883, 1884, nil}},
		{name: "user number", env: map[string]string{"PUID": "1883"}, has: debian, user: "mosquitto",
			want: Identity{1883, 0, nil}, lines: []string{root}},
		{name: "group number", env: map[string]string{"PGID": "1883"}, has: debian, user: "mosquitto",
			want: Identity{0, 1883, nil}, lines: []string{root}},
		{name: "number 0", env: map[string]string{"PUID": "0", "PGID": "0"}, has: debian, user: "mosquitto", lines: []string{root}},
		{name: "no number", env: map[string]string{"PUID": "mosquitto"}, has: debian,
			err: "Error: PUID environment variable not a valid number."},
		{name: "negative", env: map[string]string{"PUID": "1", "PGID": "-1"}, has: debian,
			err: "Error: PGID environment variable not a valid number."},
		{name: "too big", env: map[string]string{"PUID": "4294967295"}, has: debian, err: "Error: PUID environment variable out of range."},
		{name: "far too big", env: map[string]string{"PGID": "99999999999999999999"}, has: debian,
			err: "Error: PGID environment variable out of range."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := origin{euid: tt.euid, env: func(name string) string { return tt.env[name] },
				accounts: func(name string) (Identity, error) {
					if id, ok := tt.has[name]; ok {
						return id, nil
					}
					if tt.has == nil {
						return Identity{}, fs.ErrNotExist
					}
					return Identity{}, user.UnknownUserError(name)
				}}
			id, lines, err := p.identity(tt.user)
			var said []string
			for _, l := range lines {
				said = append(said, l.Text)
			}
			if !reflect.DeepEqual(said, tt.lines) {
				t.Errorf("lines %q", said)
			}
			var bad *conf.Error
			if errors.As(err, &bad) && bad.Code != 3 {
				t.Errorf("status %d", bad.Code)
			}
			if text := ""; err != nil {
				if text = err.Error(); text != tt.err {
					t.Errorf("error %q", text)
				}
			} else if tt.err != "" || !reflect.DeepEqual(id, tt.want) {
				t.Errorf("%+v", id)
			}
		})
	}
}
