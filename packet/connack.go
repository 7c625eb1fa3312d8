package packet

// decodeConnack takes CONNACK apart: acknowledge flags, code, properties in version 5. In 3.1 the first byte is reserved.
func (p *Packet) decodeConnack(v Version, from Side, body []byte) error {
	if len(body) < 2 {
		return errCut
	}
	flags, code := body[0], Reason(body[1])
	if v == V31 {
		flags = 0
	}
	if flags > 1 {
		return errConnackFlags
	}
	if v == V5 && !connackReasons.has(code) || v != V5 && code > 5 {
		return errCode
	}
	if flags == 1 && code != Success {
		return errSessionPresent
	}
	p.SessionPresent, p.Reason = flags == 1, code
	rest, err := p.takeProps(v, from, body[2:])
	if err != nil {
		return err
	}
	if len(rest) != 0 {
		return errOverlong
	}
	return nil
}

// AppendConnack appends a CONNACK. code is the reason code in version 5, before it the return code 0 to 5. props is a raw
// property list and counts only in version 5. In 3.1, which has no Session Present, sessionPresent does not count.
func AppendConnack(dst []byte, v Version, sessionPresent bool, code byte, props []byte) []byte {
	var flags byte
	if sessionPresent && v != V31 {
		flags = 1
	}
	dst = appendHeader(dst, Connack.first(), 2+listSize(v, len(props)))
	dst = append(dst, flags, code)
	if v == V5 {
		dst = appendList(dst, props)
	}
	return dst
}
