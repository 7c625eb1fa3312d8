package packet

// decodeDisconnect takes DISCONNECT apart: empty before version 5, else nothing, a reason code, or a reason code and
// properties. [MQTT 3.14.2]
func (p *Packet) decodeDisconnect(v Version, from Side, body []byte) error {
	p.Reason = NormalDisconnection
	p.Props.reset()
	if len(body) == 0 {
		return nil
	}
	if v != V5 {
		return errOverlong
	}
	p.Reason = Reason(body[0])
	if !disconnectReasonsBySide[from].has(p.Reason) {
		return errGoodbye
	}
	return p.takeOptionalProps(from, body[1:])
}

// decodeAuth takes AUTH apart. Its short form, no body at all, says success without naming the method that every AUTH has
// to name, so it is refused like any AUTH without one. [MQTT 3.15.2], [MQTT-4.12.0-5]
func (p *Packet) decodeAuth(from Side, body []byte) error {
	if len(body) == 0 {
		return errAuthMethod
	}
	p.Reason = Reason(body[0])
	if !authReasonsBySide[from].has(p.Reason) {
		return errCode
	}
	if err := p.takeOptionalProps(from, body[1:]); err != nil {
		return err
	}
	if !p.Props.Has(AuthMethod) {
		return errAuthMethod
	}
	return nil
}

// appendReason encodes p, a DISCONNECT or AUTH.
func (p *Packet) appendReason(dst []byte, v Version) []byte {
	props := p.Props.Raw
	if v != V5 {
		return append(dst, p.Type.first(), 0)
	}
	if len(props) == 0 {
		return append(dst, p.Type.first(), 1, byte(p.Reason))
	}
	dst = appendHeader(dst, p.Type.first(), 1+listSize(v, len(props)))
	return appendList(append(dst, byte(p.Reason)), props)
}

// AppendDisconnect appends a DISCONNECT without properties: in version 5 always with its reason code, before it without.
func AppendDisconnect(dst []byte, v Version, r Reason) []byte {
	if v != V5 {
		return append(dst, Disconnect.first(), 0)
	}
	return append(dst, Disconnect.first(), 1, byte(r))
}

// AppendPingresp appends a PINGRESP.
func AppendPingresp(dst []byte) []byte { return append(dst, Pingresp.first(), 0) }
