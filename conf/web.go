package conf

import "math"

// setOrigin adds an origin that pages may have.
func setOrigin(s *statement) error {
	w := &s.file.listener.Web
	w.Origins = append(w.Origins, s.text)
	return nil
}

func setHTTPDir(s *statement) error {
	s.file.listener.Web.HTTPDir = s.text
	return nil
}

func setPacketBufferSize(s *statement) error {
	if s.number < 0 || s.number > math.MaxUint16 {
		return failRange(s.name)
	}
	s.file.cfg.PacketBufferSize = s.number
	return nil
}
