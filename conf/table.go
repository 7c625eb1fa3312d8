package conf

import "math"

// allOptions returns every name of mosquitto.conf, those of versions 1.x and
// 2.0 included, grouped as in the manual.
func allOptions() []option {
	var all []option
	for _, group := range [][]option{
		securityOptions(), limitOptions(), persistenceOptions(), loggingOptions(), processOptions(),
		listenerOptions(), tlsOptions(), webOptions(), pluginOptions(), bridgeOptions(), bridgeTLSOptions(),
		goneOptions(),
	} {
		all = append(all, group...)
	}
	return all
}

// deprecated is what mosquitto 2.1 says of options it wants to drop.
func deprecated(name, hint string) string {
	return "The '" + name + "' option is now deprecated and will be removed in version 3.0." + hint
}

func securityOptions() []option {
	return []option{
		{name: "per_listener_settings", value: boolean, skip: perListenerSettingsFixed, set: setPerListenerSettings},
		{name: "allow_anonymous", value: boolean, scope: either, need: listenerIfOwned, set: setAllowAnonymous},
		{name: "listener_allow_anonymous", value: boolean, scope: perListener, need: someListener, set: setListenerAllowAnonymous},
		{name: "password_file", value: text, scope: either, need: listenerIfOwned, set: setPasswordFile},
		{name: "failed_logins_burst", value: integer, set: limit(func(c *Config) *int { return &c.FailedLoginsBurst })},
		{name: "failed_logins_per_minute", value: integer, set: limit(func(c *Config) *int { return &c.FailedLoginsPerMinute })},
		{name: "acl_file", value: text, scope: either, need: listenerIfOwned, set: setACLFile},
		{name: "watch_files_interval", value: integer, set: limit(func(c *Config) *int { return &c.WatchFilesInterval })},
		{name: "psk_file", value: text, scope: either, need: listenerIfOwned, state: never, why: whyPSK, set: setPSKFile},
		{name: "allow_zero_length_clientid", value: boolean, scope: either, need: listenerIfOwned, set: setAllowZeroLengthClientID},
		{name: "auto_id_prefix", value: text, scope: either, need: listenerIfOwned, once: true, set: setAutoIDPrefix,
			notice: deprecated("auto_id_prefix", " Please use 'listener_auto_id_prefix' instead.")},
		{name: "listener_auto_id_prefix", value: text, scope: perListener, need: someListener, once: true, set: setListenerAutoIDPrefix},
		{name: "clientid_prefixes", value: text, set: setClientIDPrefixes, notice: deprecated("clientid_prefixes", "")},
		{name: "check_retain_source", value: boolean, set: flag(func(c *Config) *bool { return &c.CheckRetainSource })},
		{name: "use_username_as_clientid", value: boolean, scope: perListener, need: defaultListens, set: setUseUsernameAsClientID},
		{name: "enable_control_api", value: boolean, set: flag(func(c *Config) *bool { return &c.EnableControlAPI })},
	}
}

func limitOptions() []option {
	return []option{
		{name: "max_inflight_messages", value: integer, set: setMaxInflightMessages},
		{name: "max_inflight_bytes", value: integer, set: limit(func(c *Config) *int { return &c.MaxInflightBytes })},
		{name: "max_queued_messages", value: integer, set: limit(func(c *Config) *int { return &c.MaxQueuedMessages })},
		{name: "max_queued_bytes", value: integer, set: limit(func(c *Config) *int { return &c.MaxQueuedBytes })},
		{name: "queue_qos0_messages", value: boolean, set: flag(func(c *Config) *bool { return &c.QueueQoS0Messages })},
		{name: "max_packet_size", value: integer, set: setMaxPacketSize},
		{name: "message_size_limit", value: integer, set: setMessageSizeLimit,
			notice: "Note: It is recommended to replace `message_size_limit` with `max_packet_size`."},
		{name: "max_keepalive", value: integer, set: within(0, math.MaxUint16, func(c *Config) *int { return &c.MaxKeepalive })},
		{name: "max_connections", value: integer, scope: perListener, need: defaultListens, set: setMaxConnections},
		{name: "global_max_connections", value: integer, set: limit(func(c *Config) *int { return &c.GlobalMaxConnections })},
		{name: "global_max_clients", value: integer, set: limit(func(c *Config) *int { return &c.GlobalMaxClients })},
		{name: "max_qos", value: integer, scope: perListener, need: defaultListens, set: setMaxQoS},
		{name: "maximum_qos", of: "max_qos", value: integer, scope: perListener, need: defaultListens, set: setMaxQoS},
		{name: "max_topic_alias", value: integer, scope: perListener, need: someListener,
			set: aliases(func(l *Listener) *int { return &l.MaxTopicAlias })},
		{name: "max_topic_alias_broker", value: integer, scope: perListener, need: someListener,
			set: aliases(func(l *Listener) *int { return &l.MaxTopicAliasBroker })},
		{name: "memory_limit", value: integer64, set: setMemoryLimit},
		{name: "max_subscriptions", value: integer, set: limit(func(c *Config) *int { return &c.MaxSubscriptions })},
		{name: "max_topic_levels", value: integer, set: limit(func(c *Config) *int { return &c.MaxTopicLevels })},
		{name: "max_retained_messages", value: integer, set: limit(func(c *Config) *int { return &c.MaxRetainedMessages })},
		{name: "max_clientid_length", value: integer, set: limit(func(c *Config) *int { return &c.MaxClientIDLength })},
		{name: "persistent_client_expiration", value: word, set: setPersistentClientExpiration},
		{name: "retain_available", value: boolean, set: flag(func(c *Config) *bool { return &c.RetainAvailable })},
		{name: "retain_expiry_interval", value: integer, set: setRetainExpiryInterval},
		{name: "upgrade_outgoing_qos", value: boolean, set: flag(func(c *Config) *bool { return &c.UpgradeOutgoingQoS })},
		{name: "allow_duplicate_messages", value: boolean, set: flag(func(c *Config) *bool { return &c.AllowDuplicateMessages }),
			notice: deprecated("allow_duplicate_messages", " The behaviour will default to true.")},
		{name: "set_tcp_nodelay", value: boolean, set: flag(func(c *Config) *bool { return &c.SetTCPNoDelay })},
		{name: "sys_interval", value: integer, set: within(0, math.MaxUint16, func(c *Config) *int { return &c.SysInterval })},
		{name: "retry_interval", value: own, set: setRetryInterval},
		{name: "packet_buffer_size", value: integer,
			set: setPacketBufferSize},
		{name: "websockets_headers_size", of: "packet_buffer_size", value: integer,
			set: setPacketBufferSize},
	}
}

func persistenceOptions() []option {
	return []option{
		{name: "persistence", value: boolean, set: flag(func(c *Config) *bool { return &c.Persistence })},
		{name: "retained_persistence", of: "persistence", value: boolean, set: flag(func(c *Config) *bool { return &c.Persistence })},
		{name: "persistence_file", value: text, once: true, set: setPersistenceFile},
		{name: "persistence_location", value: text, once: true, set: setPersistenceLocation},
		{name: "persistence_sync", value: word, set: setPersistenceSync},
		{name: "autosave_interval", value: integer, set: limit(func(c *Config) *int { return &c.AutosaveInterval })},
		{name: "autosave_on_changes", value: boolean, set: flag(func(c *Config) *bool { return &c.AutosaveOnChanges })},
	}
}

func loggingOptions() []option {
	return []option{
		{name: "log_dest", value: word, set: setLogDest},
		{name: "log_type", value: word, set: setLogType},
		{name: "log_facility", value: integer, set: setLogFacility},
		{name: "log_timestamp", value: boolean, set: flag(func(c *Config) *bool { return &c.LogTimestamp })},
		{name: "log_timestamp_format", value: text, once: true, set: setLogTimestampFormat},
		{name: "connection_messages", value: boolean, set: flag(func(c *Config) *bool { return &c.ConnectionMessages })},
		// mosquitto 2.1 does not look at the value of this one either.
		{name: "websockets_log_level", value: unread},
	}
}

func processOptions() []option {
	return []option{
		{name: "pid_file", value: text, once: true, set: setPidFile},
		{name: "user", value: text, set: setUser},
		{name: "include_dir", value: raw, set: setIncludeDir},
	}
}

func listenerOptions() []option {
	return []option{
		{name: "listener", value: integer, scope: perListener, strict: true, set: setListener},
		{name: "port", value: integer, set: setPort, notice: deprecated("port", " Please use 'listener' instead.")},
		{name: "bind_address", value: text, once: true, set: setBindAddress,
			notice: deprecated("bind_address", " Please use 'listener' instead.")},
		{name: "bind_interface", value: text, scope: perListener, need: defaultListens, once: true, set: setBindInterface},
		{name: "socket_domain", value: word, scope: perListener, need: defaultListens, set: setSocketDomain},
		{name: "protocol", value: word, scope: perListener, need: defaultListens, set: setProtocol},
		{name: "mount_point", value: text, scope: perListener, need: someListener, set: setMountPoint},
		{name: "accept_protocol_versions", value: own, scope: perListener, need: namedListener, set: setAcceptProtocolVersions},
	}
}

func tlsOptions() []option {
	return []option{
		{name: "certfile", value: text, scope: perListener, need: defaultListens, set: setCertfile},
		{name: "keyfile", value: text, scope: perListener, need: defaultListens, set: setKeyfile},
		{name: "cafile", value: text, scope: perListener, need: someListener, set: setCafile},
		{name: "capath", value: text, scope: perListener, need: defaultListens, set: setCapath},
		{name: "crlfile", value: text, scope: perListener, need: defaultListens,
			set: tlsText(func(t *TLS) *string { return &t.CRLFile })},
		{name: "require_certificate", value: boolean, scope: perListener, need: defaultListens,
			set: tlsSwitch(func(t *TLS) *bool { return &t.RequireCertificate })},
		{name: "use_identity_as_username", value: boolean, scope: perListener, need: defaultListens,
			set: tlsSwitch(func(t *TLS) *bool { return &t.UseIdentityAsUsername })},
		{name: "use_subject_as_username", value: boolean, scope: perListener, need: defaultListens, set: setSubjectAsUsername},
		{name: "disable_client_cert_date_checks", value: boolean, scope: perListener, need: someListener,
			set: tlsSwitch(func(t *TLS) *bool { return &t.DisableClientCertDateChecks })},
		{name: "tls_version", value: text, scope: perListener, need: someListener, once: true, set: setTLSVersion},
		{name: "ciphers", value: text, scope: perListener, need: defaultListens,
			set: tlsText(func(t *TLS) *string { return &t.Ciphers })},
		{name: "ciphers_tls1.3", value: text, scope: perListener, need: defaultListens, state: never, why: whySuites},
		{name: "psk_hint", value: text, scope: perListener, need: defaultListens, once: true, state: never, why: whyPSK, set: setPSKHint},
		{name: "tls_engine", value: text, scope: perListener, need: defaultListens, once: true, state: never, why: whyEngine},
		{name: "tls_keyform", value: text, scope: perListener, need: defaultListens, once: true, set: setKeyform},
		{name: "tls_engine_kpass_sha1", value: text, scope: perListener, need: defaultListens, once: true, state: never, why: whyEngine,
			set: setEnginePassword},
	}
}

func webOptions() []option {
	return []option{
		{name: "websockets_origin", value: text, scope: perListener, need: someListener, set: setOrigin},
		{name: "http_dir", value: text, scope: perListener, need: someListener, once: true, set: setHTTPDir},
		{name: "enable_proxy_protocol", value: integer, scope: perListener, need: someListener, set: setProxyProtocol},
		{name: "proxy_protocol_v2_require_tls", value: boolean, scope: perListener, need: someListener, set: setProxyTLS},
	}
}

func pluginOptions() []option {
	return []option{
		{name: "plugin", value: raw, scope: either, need: listenerIfOwned, state: never, why: whyPlugin, set: setPlugin},
		{name: "auth_plugin", of: "plugin", value: raw, scope: either, need: listenerIfOwned, state: never, why: whyPlugin, set: setPlugin},
		{name: "global_plugin", value: raw, state: never, why: whyPlugin, set: setGlobalPlugin},
		{name: "plugin_load", value: own, state: never, why: whyPlugin, set: setPluginLoad},
		{name: "plugin_use", value: text, scope: perListener, need: namedListener, state: never, why: whyPlugin, set: setPluginUse},
		{name: "plugin_opt_", value: own, opened: true, scope: perPlugin, need: somePlugin, state: never, why: whyPlugin, set: setPluginOption},
		{name: "auth_opt_", of: "plugin_opt_", value: own, opened: true, scope: perPlugin, need: somePlugin, state: never, why: whyPlugin,
			set: setPluginOption},
		{name: "auth_plugin_deny_special_chars", value: boolean, scope: perPlugin, need: somePlugin, state: never, why: whyPlugin,
			set: setPluginSwitch},
	}
}

// bridged completes options that belong to a connection.
func bridged(options []option) []option {
	for i := range options {
		o := &options[i]
		o.scope, o.need = perBridge, someBridge
		if o.state == built {
			o.state = notYet
		}
	}
	return options
}

func bridgeOptions() []option {
	connection := option{name: "connection", value: word, scope: perBridge, state: notYet, set: setConnection}
	return append(bridged([]option{
		{name: "address", value: own, set: setAddress},
		{name: "addresses", of: "address", value: own, set: setAddress},
		{name: "topic", value: own, set: setTopic},
		{name: "remote_clientid", value: text, once: true, set: setRemoteClientID},
		{name: "clientid", of: "remote_clientid", value: text, once: true, set: setRemoteClientID},
		{name: "remote_username", value: text, once: true},
		{name: "username", of: "remote_username", value: text, once: true},
		{name: "remote_password", value: text, once: true},
		{name: "password", of: "remote_password", value: text, once: true},
		{name: "local_clientid", value: text, once: true, set: setLocalClientID},
		{name: "local_username", value: text, once: true},
		{name: "local_password", value: text, once: true},
		{name: "cleansession", value: boolean},
		{name: "local_cleansession", value: boolean},
		{name: "bridge_protocol_version", value: raw, set: setBridgeProtocolVersion},
		{name: "try_private", value: boolean},
		{name: "notifications", value: boolean},
		{name: "notifications_local_only", value: boolean},
		{name: "notification_topic", value: text, once: true},
		{name: "start_type", value: word, set: setStartType},
		{name: "threshold", value: integer, set: raised("threshold", 1, "message")},
		{name: "idle_timeout", value: integer, set: raised("idle_timeout interval", 1, "second")},
		{name: "restart_timeout", value: own, set: setRestartTimeout},
		{name: "keepalive_interval", value: integer, set: setKeepaliveInterval},
		{name: "round_robin", value: boolean},
		{name: "bridge_attempt_unsubscribe", value: boolean},
		{name: "bridge_outgoing_retain", value: boolean},
		{name: "bridge_bind_address", value: text, once: true},
		{name: "bridge_max_packet_size", value: integer},
		{name: "bridge_max_topic_alias", value: integer, set: span(0, math.MaxUint16)},
		{name: "bridge_receive_maximum", value: integer, set: span(1, math.MaxUint16)},
		{name: "bridge_session_expiry_interval", value: integer, set: setNonNegative},
		{name: "bridge_tcp_keepalive", value: own, set: setTCPKeepalive},
		{name: "bridge_tcp_user_timeout", value: integer, set: setNonNegative},
		{name: "bridge_reload_type", value: word, set: setReloadType},
	}), connection)
}

func bridgeTLSOptions() []option {
	return bridged([]option{
		{name: "bridge_cafile", value: text, once: true, set: setBridgeCertificate},
		{name: "bridge_capath", value: text, once: true, set: setBridgeCertificate},
		{name: "bridge_tls_use_os_certs", value: boolean},
		{name: "bridge_certfile", value: text, once: true, set: setBridgeCertificate},
		{name: "bridge_keyfile", value: text, set: setBridgeCertificate},
		{name: "bridge_insecure", value: boolean, set: setBridgeInsecure},
		{name: "bridge_alpn", value: text, once: true},
		{name: "bridge_require_ocsp", value: boolean},
		{name: "bridge_tls_version", value: text, once: true},
		{name: "bridge_ciphers", value: text, once: true},
		{name: "bridge_ciphers_tls1.3", value: text, once: true},
		{name: "bridge_identity", value: text, once: true, state: never, why: whyPSK, set: setBridgeIdentity},
		{name: "bridge_psk", value: text, once: true, state: never, why: whyPSK, set: setBridgePSK},
	})
}

// goneOptions meant something to mosquitto 1.x or to another broker.
func goneOptions() []option {
	return []option{
		{name: "store_clean_interval", value: unread, state: gone},
		{name: "ffdc_output", value: unread, state: gone},
		{name: "max_log_entries", value: unread, state: gone},
		{name: "trace_level", value: unread, state: gone},
		{name: "trace_output", value: unread, state: gone},
		{name: "dhparamfile", value: unread, state: gone, why: "no longer needed"},
	}
}
