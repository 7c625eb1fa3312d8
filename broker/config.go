package broker

import (
	"midge/broker/core"
	"midge/broker/logging"
	"midge/conf"
)

// coreConfig is the part of the configuration that core enforces.
func coreConfig(c *conf.Config, version string, away core.Access) core.Config {
	return core.Config{
		Version:             "mosquitto version " + version,
		MaxInflightMessages: c.MaxInflightMessages,
		MaxInflightBytes:    c.MaxInflightBytes,
		MaxQueuedMessages:   c.MaxQueuedMessages,
		MaxQueuedBytes:      c.MaxQueuedBytes,
		QueueQoS0:           c.QueueQoS0Messages,
		MaxPacketSize:       c.MaxPacketSize,
		MessageSizeLimit:    c.MessageSizeLimit,
		MaxKeepAlive:        uint16(c.MaxKeepalive),
		MaxSessionExpiry:    c.PersistentClientExpiration * 1000,
		MaxClients:          c.GlobalMaxClients,
		MemoryLimit:         c.MemoryLimit,
		MaxSubscriptions:    c.MaxSubscriptions,
		MaxTopicLevels:      c.MaxTopicLevels,
		MaxRetained:         c.MaxRetainedMessages,
		MaxClientIDLength:   c.MaxClientIDLength,
		RetainAvailable:     c.RetainAvailable,
		RetainSweep:         core.Time(c.RetainExpiryInterval) * 60_000,
		UpgradeQoS:          c.UpgradeOutgoingQoS,
		AllowDuplicates:     c.AllowDuplicateMessages,
		RetryInterval:       core.Time(c.RetryInterval) * 1000,
		SysInterval:         core.Time(c.SysInterval) * 1000,
		ConnectionMessages:  c.ConnectionMessages,
		Access:              away,
		CheckRetainSource:   c.CheckRetainSource,
		ClientIDPrefix:      c.ClientIDPrefix,
		ControlAPI:          c.EnableControlAPI,
	}
}

// coreListener is what core asks of a listener.
func coreListener(l *conf.Listener) *core.Listener {
	return &core.Listener{
		Port:          l.Port,
		Path:          l.Path,
		Mount:         l.MountPoint,
		Anonymous:     l.AllowAnonymous,
		UsernameAsID:  l.UseUsernameAsClientID,
		EmptyClientID: l.AllowZeroLengthClientID,
		AutoIDPrefix:  l.AutoIDPrefix,
		MaxQoS:        byte(l.MaxQoS),
		MaxAlias:      uint16(l.MaxTopicAlias),
		MaxAliasOut:   uint16(l.MaxTopicAliasBroker),
		Versions:      uint8(l.AcceptProtocolVersions),
	}
}

// logOptions is the part of the configuration that the log wants.
func logOptions(c *conf.Config, o Options) logging.Options {
	return logging.Options{
		Stdout:          c.LogDest&conf.ToStdout != 0,
		Stderr:          c.LogDest&conf.ToStderr != 0,
		File:            c.LogFile,
		FollowLinks:     conf.FollowLinks(),
		Syslog:          c.LogDest&conf.ToSyslog != 0,
		Facility:        c.LogFacility,
		Topic:           c.LogDest&conf.ToTopic != 0,
		Classes:         logClasses(c.LogType),
		Verbose:         o.Verbose,
		Quiet:           o.Quiet,
		Timestamp:       c.LogTimestamp,
		TimestampFormat: c.LogTimestampFormat,
	}
}

// logClasses turns a set of conf's classes into one of core's.
func logClasses(set conf.Class) (out core.Class) {
	for _, m := range [...]struct {
		from conf.Class
		to   core.Class
	}{
		{conf.ClassError, core.LogError}, {conf.ClassWarning, core.LogWarning},
		{conf.ClassNotice, core.LogNotice}, {conf.ClassInformation, core.LogInfo},
		{conf.ClassDebug, core.LogDebug}, {conf.ClassSubscribe, core.LogSubscribe},
		{conf.ClassUnsubscribe, core.LogUnsubscribe}, {conf.ClassWebsockets, core.LogWebsockets},
		{conf.ClassInternal, core.LogInternal},
	} {
		if set&m.from != 0 {
			out |= m.to
		}
	}
	return out
}
