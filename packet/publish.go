package packet

// Flags of PUBLISH, the lower four bits of its first byte: DUP, QoS in two bits, RETAIN. [MQTT 3.3.1]
const (
	flagDup    = 0x08
	flagRetain = 0x01
)

// qosOf is the QoS in PUBLISH's flags.
func qosOf(flags byte) byte { return flags >> 1 & 3 }

// decodePublish takes PUBLISH apart: topic, packet identifier above QoS 0, properties in version 5, payload.
func (p *Packet) decodePublish(v Version, from Side, first byte, body []byte) error {
	p.Dup, p.QoS, p.Retain = first&flagDup != 0, qosOf(first), first&flagRetain != 0
	if p.QoS == 3 {
		return ErrPublishQoS
	}
	if p.Dup && p.QoS == 0 {
		return ErrPublishDup
	}
	topic, rest, ok := takeBytes(body)
	if !ok {
		return errCut
	}
	if !validName(topic) {
		return errString // [MQTT-3.3.2-1]
	}
	p.Topic, p.ID = topic, 0
	if p.QoS > 0 {
		if p.ID, rest, ok = takeUint16(rest); !ok {
			return errCut
		}
		if p.ID == 0 {
			return errPublishID // [MQTT-2.2.1-3]; in 3.1.1 [MQTT-2.3.1-1]
		}
	}
	var err error
	if p.Payload, err = p.takeProps(v, from, rest); err != nil {
		return err
	}
	if len(topic) == 0 && !p.Props.Has(TopicAlias) {
		return errTopicEmpty // [MQTT-4.7.3-1]
	}
	return nil
}

// takeProps reads the properties of a packet that always has them in version 5, and gives back what follows them.
func (p *Packet) takeProps(v Version, from Side, b []byte) (rest []byte, err error) {
	p.Props.reset()
	if v != V5 {
		return b, nil
	}
	if len(b) > 0 && b[0] == 0 {
		return b[1:], nil
	}
	list, rest, ok := takeList(b)
	if !ok {
		return nil, errProperty
	}
	return rest, p.Props.decode(list, p.Type, from)
}

// publishFlags are the flags of p, a PUBLISH.
func (p *Packet) publishFlags() byte {
	flags := p.QoS << 1
	if p.Dup {
		flags |= flagDup
	}
	if p.Retain {
		flags |= flagRetain
	}
	return flags
}

// publishRemaining is the Remaining Length of a PUBLISH, of its parts' lengths in bytes.
func publishRemaining(v Version, qos byte, topic, props, payload int) int {
	n := 2 + topic + listSize(v, props) + payload
	if qos > 0 {
		n += 2
	}
	return n
}

// PublishSize is the length of a whole PUBLISH on the wire, in bytes, from the lengths of its parts. One whose Remaining
// Length would exceed MaxRemaining cannot be encoded; its size is more than 5 + MaxRemaining.
func PublishSize(v Version, qos byte, topic, props, payload int) int {
	n := publishRemaining(v, qos, topic, props, payload)
	return 1 + varintSize(n) + n
}

// AppendPublish appends a PUBLISH: flags are the DUP, QoS and RETAIN bits of its first byte, id counts only above QoS 0, props
// is a raw property list and counts only in version 5. It panics when a length has no encoding, see PublishSize.
func AppendPublish[T, P, D Bytes](dst []byte, v Version, flags byte, topic T, id uint16, props P, payload D) []byte {
	return append(AppendPublishHead(dst, v, flags, topic, id, props, len(payload)), payload...)
}

// AppendPublishHead appends a PUBLISH but for its payload, which is so many bytes long and is to follow it.
func AppendPublishHead[T, P Bytes](dst []byte, v Version, flags byte, topic T, id uint16, props P, payload int) []byte {
	qos := qosOf(flags)
	dst = append(dst, byte(Publish)<<4|flags&0x0F)
	dst = appendVarint(dst, publishRemaining(v, qos, len(topic), len(props), payload))
	dst = appendBytes(dst, topic)
	if qos > 0 {
		dst = append(dst, byte(id>>8), byte(id))
	}
	if v == V5 {
		dst = appendList(dst, props)
	}
	return dst
}
