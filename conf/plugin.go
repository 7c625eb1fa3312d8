package conf

import (
	"path"
	"strings"
)

// plugin is the plugin that options below its line belong to.
type plugin struct {
	builtin builtin
	file    string // of a built-in one
	at      position
	loaded  string // its name, where it waits to be used; "": it is in use
}

// builtin is what of mosquitto's plugins midge has built in: its password and ACL
// files in another form.
type builtin struct {
	library string // its file, without the end; "": it is none of them
	name    string // as it calls itself
	what    string // that its file is
	option  string // that names the file
	plain   func(*security) string
}

var (
	passwordPlugin = builtin{"mosquitto_password_file", "password-file", "password file", "password_file", func(s *security) string { return s.passwordFile }}
	aclPlugin      = builtin{"mosquitto_acl_file", "acl-file", "ACL file", "acl_file", func(s *security) string { return s.aclFile }}
)

const whyPlugin = "it cannot load C plugins"

// builtinOf finds what stands for a library.
func builtinOf(library string) builtin {
	name := path.Base(strings.TrimSpace(library))
	name = strings.TrimSuffix(name, path.Ext(name))
	for _, b := range [...]builtin{passwordPlugin, aclPlugin} {
		if b.library == name {
			return b
		}
	}
	return builtin{}
}

// state tells how far midge has what the plugin does.
func (p *plugin) state() state {
	if p.builtin.library != "" {
		return built
	}
	return never
}

// usePlugin makes the library of the line the current plugin, which is for those of
// the security options.
func (s *statement) usePlugin(of *security) error {
	f := s.file
	if err := f.section(); err != nil {
		return err
	}
	f.plugin = &plugin{builtin: builtinOf(s.text), at: s.position()}
	s.verdict = f.plugin.state()
	if s.verdict == built {
		f.builtins = append(f.builtins, f.plugin)
		if of != nil {
			of.plugins = append(of.plugins, f.plugin)
		}
	}
	return nil
}

func setPlugin(s *statement) error { return s.usePlugin(s.security()) }

func setGlobalPlugin(s *statement) error {
	s.file.secured = true
	return s.usePlugin(&s.file.global)
}

// setPluginLoad declares a plugin under a name.
func setPluginLoad(s *statement) error {
	name, ok := s.word()
	if !ok {
		return failEmpty(s.name)
	}
	if s.file.plugins[name] != nil {
		return failDuplicate(s.name)
	}
	if err := s.readRaw(); err != nil {
		return err
	}
	if err := s.usePlugin(nil); err != nil {
		return err
	}
	s.file.plugin.loaded = name
	s.file.plugins[name] = s.file.plugin
	return nil
}

// setPluginUse attaches a declared plugin; options may follow here too.
func setPluginUse(s *statement) error {
	p := s.file.plugins[s.text]
	if p == nil {
		return failValue(s.name, s.text)
	}
	s.file.plugin = p
	s.verdict = p.state()
	if s.verdict == built {
		p.loaded = ""
		s.file.listener.plugins = append(s.file.listener.plugins, p)
	}
	return nil
}

// minPluginKey is the length of the shortest key behind plugin_opt_.
const minPluginKey = 3

// setPluginOption reads what a plugin is told.
func setPluginOption(s *statement) error {
	key := s.name[len(s.option.name):]
	if len(key) < minPluginKey {
		return fail("Error: Invalid '%s' config option.", s.option.name)
	}
	p := s.file.plugin
	s.verdict = p.state()
	if err := s.readLoose(s.name); err != nil || s.verdict == never {
		return err
	}
	if key != p.builtin.option {
		return fail("Error: %s does not know the option '%s'.", p.builtin.library, s.name)
	}
	p.file = strings.TrimRight(s.text, cSpace)
	return nil
}

// setPluginSwitch has its value already. What it turns off is done for plugins of
// former versions only, so it means nothing to the built-in ones.
func setPluginSwitch(s *statement) error {
	if s.verdict = s.file.plugin.state(); s.verdict == never {
		return nil
	}
	return s.file.say(ClassWarning, "Warning: The '%s' option has no effect on %s.", s.name, s.file.plugin.builtin.library)
}

// finishPlugins checks the built-in plugins, and finds the files that hold where a
// listener has none of its own.
func (l *loader) finishPlugins() (err error) {
	for _, p := range l.builtins {
		if p.file == "" {
			return p.fail("Error: %s needs the option 'plugin_opt_%s'.", p.builtin.library, p.builtin.option)
		}
		if p.loaded != "" {
			return p.fail("Error: The plugin '%s' is not used by any listener.", p.loaded)
		}
	}
	if l.cfg.PasswordFile, err = l.fileOf(passwordPlugin, nil); err == nil {
		l.cfg.ACLFile, err = l.fileOf(aclPlugin, nil)
	}
	return err
}

// listPlugins adds plugins of the listener with the port, 0 for all, to those in use.
func (l *loader) listPlugins(plugins []*plugin, port int) {
	for _, p := range plugins {
		l.cfg.Plugins = append(l.cfg.Plugins, Plugin{p.builtin.name, port})
	}
}

// fail is an error about p, which says where it stands.
func (p *plugin) fail(format string, args ...any) error {
	e := Errorf(Exit, format, args...)
	for _, line := range located(p.at.path) {
		e.Add("%s", line)
	}
	return e
}

// fileOf is the password or ACL file that is for a listener, or for all (nil). There
// can be one only: mosquitto would ask several in their order, and with ACL files
// stop at the first.
func (l *loader) fileOf(b builtin, own *listener) (string, error) {
	plain := &l.global
	plugins := l.global.plugins
	if own != nil {
		plugins = append(plugins[:len(plugins):len(plugins)], own.plugins...)
		if l.cfg.PerListenerSettings {
			plain = &own.security
		}
	}
	file := b.plain(plain)
	for _, p := range plugins {
		if p.builtin.library != b.library {
			continue
		}
		if file != "" && file != p.file {
			return "", p.fail("Error: There can be one %s only, and there are '%s' and '%s'.", b.what, file, p.file)
		}
		file = p.file
	}
	return file, nil
}
