package conf

// check makes the checks that follow a whole file of the command line.
func (l *loader) check() error {
	for _, b := range l.bridges {
		if err := b.check(); err != nil {
			return err
		}
	}
	if err := checkLocalClientIDs(l.bridges); err != nil {
		return err
	}
	for _, listener := range l.listeners {
		if err := listener.checkTLS(); err != nil {
			return err
		}
	}
	if l.defaultListener != nil && !l.local { // otherwise it is not opened
		return l.defaultListener.checkTLS()
	}
	return nil
}

// finish turns what the files said into what is in force.
func (l *loader) finish() error {
	c := l.cfg
	c.LocalOnly = l.local
	c.AllowAnonymous = l.allowAnonymous()
	c.AllowZeroLengthClientID = l.global.zeroLengthID.or(true)
	if l.global.autoIDPrefix != "" {
		c.AutoIDPrefix = l.global.autoIDPrefix
	}
	if c.LogDest&ToFile != 0 {
		c.LogFile = l.logFile
	}
	if err := l.finishPlugins(); err != nil {
		return err
	}
	l.listPlugins(l.global.plugins, 0)
	if l.local {
		return l.warnUnused()
	}
	for _, listener := range l.listeners {
		e, err := l.effective(listener)
		if err == nil {
			err = l.warnWeb(listener)
		}
		if err != nil {
			return err
		}
		c.Listeners = append(c.Listeners, e)
		l.listPlugins(listener.plugins, e.Port)
	}
	if l.defaultListener == nil {
		return nil
	}
	d, err := l.effective(l.defaultListener)
	if err != nil {
		return err
	}
	d.Port = defaultPort
	if l.port != 0 {
		d.Port = l.port
	}
	c.Listeners = append(c.Listeners, d)
	l.listPlugins(l.defaultListener.plugins, d.Port)
	return l.warnOpened(&d)
}

// allowAnonymous returns whether clients without a user name may connect where
// nothing else is said: in local-only mode unless it was refused anywhere.
func (l *loader) allowAnonymous() bool {
	if l.local && l.defaultListener != nil && l.defaultListener.anonymous == no {
		return false
	}
	return l.global.anonymous.or(l.local)
}

// effective returns a listener as it will be. What per_listener_settings
// moves to listeners is not inherited from the whole broker.
func (l *loader) effective(own *listener) (e Listener, err error) {
	c := l.cfg
	e = own.Listener
	if c.PerListenerSettings {
		e.AllowAnonymous = own.anonymous.or(false)
		e.AllowZeroLengthClientID = own.zeroLengthID.or(true)
	} else {
		e.AllowAnonymous = own.anonymous.or(c.AllowAnonymous)
		e.AllowZeroLengthClientID = c.AllowZeroLengthClientID
		e.AutoIDPrefix = c.AutoIDPrefix
	}
	if own.autoIDPrefix != "" {
		e.AutoIDPrefix = own.autoIDPrefix
	}
	if e.PasswordFile, err = l.fileOf(passwordPlugin, own); err == nil {
		e.ACLFile, err = l.fileOf(aclPlugin, own)
	}
	e.Shut = l.shut(own, &e)
	return e, err
}

// shut tells whether nobody can connect because nothing was said about it.
func (l *loader) shut(own *listener, e *Listener) bool {
	said := own.anonymous != unset || !l.cfg.PerListenerSettings && l.global.anonymous != unset
	return !said && e.PasswordFile == "" && !e.TLS.UseIdentityAsUsername && !e.TLS.UseSubjectAsUsername
}

// warnWeb says that options for WebSocket do nothing elsewhere.
func (l *loader) warnWeb(own *listener) error {
	w := &own.Web
	if w.On || w.HTTPDir == "" && w.Origins == nil {
		return nil
	}
	return l.say(ClassWarning, "Warning: 'http_dir' and 'websockets_origin' have no effect on listener %s without 'protocol websockets'.", own.Name())
}

// warnUnused says that in local-only mode listener options do nothing.
func (l *loader) warnUnused() error {
	if l.implicit.option == "" {
		return nil
	}
	at := l.implicit.path[len(l.implicit.path)-1]
	return l.say(ClassWarning, "Warning: Without a 'listener' line, the '%s' option at %s:%d and other listener options have no effect.",
		l.implicit.option, at.file, at.line)
}

// warnOpened says that a listener nobody asked for is going to be opened.
func (l *loader) warnOpened(d *Listener) error {
	if l.implicit.option == "" {
		return nil
	}
	at := l.implicit.path[len(l.implicit.path)-1]
	return l.say(ClassWarning, "Warning: The '%s' option at %s:%d stands above any 'listener' line, so port %d is opened on all interfaces too.",
		l.implicit.option, at.file, at.line, d.Port)
}
