package conf

import (
	"path"
	"strings"
)

// plugin is the plugin that options below its line belong to.
type plugin struct {
	state state
}

const whyPlugin = "it cannot load C plugins"

// pluginState tells whether midge is to have what a plugin does. Two of
// mosquitto's plugins are the password and ACL files in another form.
func pluginState(library string) state {
	switch name := path.Base(library); strings.TrimSuffix(name, path.Ext(name)) {
	case "mosquitto_password_file", "mosquitto_acl_file":
		return notYet
	}
	return never
}

// usePlugin makes the library of the line the current plugin.
func (s *statement) usePlugin() error {
	if err := s.file.section(); err != nil {
		return err
	}
	s.verdict = pluginState(s.text)
	s.file.plugin = &plugin{s.verdict}
	return nil
}

func setPlugin(s *statement) error { return s.usePlugin() }

func setGlobalPlugin(s *statement) error {
	s.file.secured = true
	return s.usePlugin()
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
	if err := s.usePlugin(); err != nil {
		return err
	}
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
	s.verdict = p.state
	return nil
}

// minPluginKey is the length of the shortest key behind plugin_opt_.
const minPluginKey = 3

// setPluginOption reads what a plugin is told.
func setPluginOption(s *statement) error {
	if len(s.name) < len(s.option.name)+minPluginKey {
		return fail("Error: Invalid '%s' config option.", s.option.name)
	}
	s.verdict = s.file.plugin.state
	return s.readLoose(s.name)
}

// setPluginSwitch has its value already.
func setPluginSwitch(s *statement) error {
	s.verdict = s.file.plugin.state
	return nil
}
