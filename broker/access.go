package broker

import (
	"midge/auth"
	"midge/broker/core"
	"midge/conf"
	"midge/persist"
)

// access is an ACL file as core asks it.
type access struct{ acl *auth.ACL }

// May asks the ACL, and has mosquitto's notice for a name that is a wildcard.
func (a access) May(who *persist.Origin, do core.Action, topic string) (ok bool, notice string) {
	action := auth.Read
	if do == core.ActionWrite {
		action = auth.Write
	}
	v := a.acl.May(who.ClientID, who.Username, action, topic)
	if v == auth.DeniedName {
		return false, dangerous(who)
	}
	return v == auth.Allowed, ""
}

func dangerous(who *persist.Origin) string {
	if auth.Dangerous(who.Username) {
		return `ACL denying access to client with dangerous username "` + who.Username + `"`
	}
	return `ACL denying access to client with dangerous client id "` + who.ClientID + `"`
}

// accesses are what core asks about clients that are connected, by the file of their
// listener, and about all others.
type accesses struct {
	byFile map[string]core.Access
	away   core.Access // nil where no listener has a file
}

// byPort asks about sessions that are away and about who published what is retained:
// of them only the port is known that they came by. All listeners of that port must
// agree. For a port that has none it is as if there were one with what holds for
// those that say nothing of their own; where each listener has its own rules, clients
// without one may do nothing.
type byPort struct {
	ports map[int][]core.Access
	other core.Access
	open  bool // other is nil because everything is allowed
}

// May asks all of them.
func (b *byPort) May(who *persist.Origin, do core.Action, topic string) (ok bool, notice string) {
	all, known := b.ports[who.Listener]
	if !known && b.other == nil {
		return b.open, ""
	}
	if !known {
		return b.other.May(who, do, topic)
	}
	for _, a := range all {
		if a == nil {
			continue
		}
		if ok, notice = a.May(who, do, topic); !ok {
			return false, notice
		}
	}
	return true, ""
}

// newAccesses makes what core asks from the files of a configuration and its listeners.
func newAccesses(c *conf.Config, listeners []conf.Listener, acls map[string]*auth.ACL) accesses {
	set := accesses{byFile: make(map[string]core.Access, len(acls))}
	for name, acl := range acls {
		set.byFile[name] = access{acl}
	}
	if len(acls) == 0 {
		return set
	}
	ports := &byPort{ports: make(map[int][]core.Access), other: set.byFile[c.ACLFile]}
	ports.open = ports.other == nil && !c.PerListenerSettings
	for _, l := range listeners {
		ports.ports[l.Port] = append(ports.ports[l.Port], set.byFile[l.ACLFile])
	}
	set.away = ports
	return set
}
