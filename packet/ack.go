package packet

// decodeAck takes PUBACK, PUBREC, PUBREL or PUBCOMP apart: packet identifier; in version 5 then nothing, a reason code, or a
// reason code and properties. [MQTT 3.4.2]
func (p *Packet) decodeAck(v Version, from Side, body []byte) error {
	id, rest, ok := takeUint16(body)
	if !ok {
		return errCut
	}
	if id == 0 {
		return errorf(ProtocolError, "%v with mid = 0.", p.Type)
	}
	if v != V5 && len(rest) != 0 {
		return errOverlong
	}
	p.ID, p.Reason = id, Success
	p.Props.reset()
	if len(rest) == 0 {
		return nil
	}
	p.Reason = Reason(rest[0])
	legal := receivedReasons
	if p.Type >= Pubrel {
		legal = releasedReasons
	}
	if !legal.has(p.Reason) {
		return errorf(ProtocolError, "%v with reason code = %d.", p.Type, rest[0])
	}
	return p.takeOptionalProps(from, rest[1:])
}

// takeOptionalProps reads the properties at the end of a version 5 packet that may leave them out with their length.
func (p *Packet) takeOptionalProps(from Side, b []byte) error {
	p.Props.reset()
	if len(b) == 0 {
		return nil
	}
	rest, err := p.takeProps(V5, from, b)
	if err != nil {
		return err
	}
	if len(rest) != 0 {
		return errOverlong
	}
	return nil
}

// appendAck encodes p, a PUBACK, PUBREC, PUBREL or PUBCOMP.
func (p *Packet) appendAck(dst []byte, v Version) []byte {
	props := p.Props.Raw
	if v != V5 || len(props) == 0 {
		return AppendAck(dst, v, p.Type, p.ID, p.Reason)
	}
	dst = appendHeader(dst, p.Type.first(), 3+listSize(v, len(props)))
	dst = append(dst, byte(p.ID>>8), byte(p.ID), byte(p.Reason))
	return appendList(dst, props)
}

// AppendAck appends a PUBACK, PUBREC, PUBREL or PUBCOMP without properties: 2 bytes of body for [Success] and before version 5,
// where r does not count, else 3.
func AppendAck(dst []byte, v Version, t Type, id uint16, r Reason) []byte {
	if v != V5 || r == Success {
		return append(dst, t.first(), 2, byte(id>>8), byte(id))
	}
	return append(dst, t.first(), 3, byte(id>>8), byte(id), byte(r))
}
