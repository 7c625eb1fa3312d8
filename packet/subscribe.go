package packet

// Filters are the topic filters of a SUBSCRIBE, each with its options, or those of an UNSUBSCRIBE. It is an iterator: a copy
// of it starts over where the original stood.
type Filters struct {
	// Raw is the payload that is left to read. For a packet to be encoded build it with AppendSubscription or AppendFilter.
	Raw []byte
	// Options says that options follow each filter: true for SUBSCRIBE.
	Options bool
}

// Next gives the next filter, not empty, and the byte of subscription options after it (QoS in bits 0-1, and in version 5 No
// Local in bit 2, Retain As Published in bit 3, Retain Handling in bits 4-5), 0 in UNSUBSCRIBE. ok is false at the end.
func (f *Filters) Next() (filter []byte, options byte, ok bool) {
	filter, rest, ok := takeBytes(f.Raw)
	if ok && f.Options {
		if ok = len(rest) > 0; ok {
			options, rest = rest[0], rest[1:]
		}
	}
	if !ok {
		return nil, 0, false
	}
	f.Raw = rest
	return filter, options, true
}

// check validates all that is left and counts on every byte being part of a filter. [MQTT-3.8.3-1], [MQTT-3.8.3-2],
// [MQTT-3.10.3-1], [MQTT-3.10.3-2]
func (f Filters) check(v Version) error {
	if len(f.Raw) == 0 {
		return errNoFilter
	}
	for len(f.Raw) > 0 {
		filter, options, ok := f.Next()
		switch {
		case !ok:
			return errCut
		case len(filter) == 0:
			return ErrEmptyFilter
		case !validName(filter):
			return errString
		case !validOptions(v, options):
			return ErrSubscriptionOptions
		}
	}
	return nil
}

// validOptions checks the byte after a filter. [MQTT-3.8.3-5]; in 3.1.1 [MQTT-3-8.3-4]
func validOptions(v Version, options byte) bool {
	if v != V5 {
		return options <= 2
	}
	return options&0xC0 == 0 && options&0x30 != 0x30 && options&0x03 != 0x03
}

// decodeSubscribe takes SUBSCRIBE or UNSUBSCRIBE apart: packet identifier, properties in version 5, filters.
func (p *Packet) decodeSubscribe(v Version, from Side, body []byte) error {
	id, rest, ok := takeUint16(body)
	if !ok {
		return errCut
	}
	if id == 0 {
		return errSubscribeID // [MQTT-2.2.1-3]; in 3.1.1 [MQTT-2.3.1-1]
	}
	rest, err := p.takeProps(v, from, rest)
	if err != nil {
		return err
	}
	p.ID, p.Filters = id, Filters{Raw: rest, Options: p.Type == Subscribe}
	return p.Filters.check(v)
}

// AppendSubscription appends a filter of SUBSCRIBE and its options to a payload.
func AppendSubscription[S Bytes](dst []byte, filter S, options byte) []byte {
	return append(appendBytes(dst, filter), options)
}

// AppendFilter appends a filter of UNSUBSCRIBE to a payload.
func AppendFilter[S Bytes](dst []byte, filter S) []byte { return appendBytes(dst, filter) }

// decodeSuback takes SUBACK or UNSUBACK apart: packet identifier, properties in version 5, and a code for each filter; before
// version 5 UNSUBACK has none.
func (p *Packet) decodeSuback(v Version, from Side, body []byte) error {
	id, rest, ok := takeUint16(body)
	if !ok {
		return errCut
	}
	if id == 0 {
		return errorf(ProtocolError, "%v with mid = 0.", p.Type)
	}
	rest, err := p.takeProps(v, from, rest)
	if err != nil {
		return err
	}
	p.ID, p.Codes = id, nil
	if p.Type == Unsuback && v != V5 {
		if len(rest) != 0 {
			return errOverlong
		}
		return nil
	}
	if len(rest) == 0 {
		return errCut
	}
	p.Codes = rest
	return checkCodes(rest, listedReasons(v, p.Type))
}

// listedReasons are the codes legal in the payload of t. [MQTT-3.9.3-2], [MQTT-3.11.3-2]
func listedReasons(v Version, t Type) reasonSet {
	switch {
	case t == Unsuback:
		return unsubackReasons
	case v == V5:
		return subackReasons
	}
	return subackCodesV3
}

func checkCodes(codes []byte, legal reasonSet) error {
	for _, c := range codes {
		if !legal.has(Reason(c)) {
			return errCode
		}
	}
	return nil
}

// appendListed encodes a packet that has a packet identifier, properties in version 5, and a payload.
func appendListed(dst []byte, v Version, t Type, id uint16, props, payload []byte) []byte {
	dst = appendHeader(dst, t.first(), 2+listSize(v, len(props))+len(payload))
	dst = append(dst, byte(id>>8), byte(id))
	if v == V5 {
		dst = appendList(dst, props)
	}
	return append(dst, payload...)
}

// AppendSuback appends a SUBACK with a code for each filter.
func AppendSuback(dst []byte, v Version, id uint16, codes []byte) []byte {
	return appendListed(dst, v, Suback, id, nil, codes)
}

// AppendUnsuback appends an UNSUBACK with a code for each filter; before version 5 codes do not count.
func AppendUnsuback(dst []byte, v Version, id uint16, codes []byte) []byte {
	if v != V5 {
		codes = nil
	}
	return appendListed(dst, v, Unsuback, id, nil, codes)
}
