package packet

import "encoding/binary"

// Field is one property of a list. Its slices point into the list.
type Field struct {
	ID    Property
	Int   uint32 // the value of a number
	Bytes []byte // the value of a string or binary data; the name in a user property
	Value []byte // the value in a user property
	Raw   []byte // the whole field as encoded
}

// Fields iterates over a property list. A copy of it starts over where the original stood.
type Fields struct {
	rest []byte
}

// Next gives the next property; false at the end of the list.
func (f *Fields) Next() (field Field, ok bool) {
	f.rest, ok = field.take(f.rest)
	return field, ok
}

// take reads the property at the start of b into f and gives back what follows it. It is false when that is cut short, has an
// unknown identifier or a number in more bytes than it needs. The value is not looked at further.
func (f *Field) take(b []byte) (rest []byte, ok bool) {
	if len(b) == 0 || int(b[0]) >= len(properties) {
		return nil, false // identifiers are Variable Byte Integers; none of the known ones needs two bytes
	}
	f.ID = Property(b[0])
	f.Int, f.Bytes, f.Value = 0, nil, nil
	rest = b[1:]
	switch properties[f.ID].form {
	case oneByte:
		if ok = len(rest) >= 1; ok {
			f.Int, rest = uint32(rest[0]), rest[1:]
		}
	case twoBytes:
		var n uint16
		n, rest, ok = takeUint16(rest)
		f.Int = uint32(n)
	case fourBytes:
		if ok = len(rest) >= 4; ok {
			f.Int, rest = binary.BigEndian.Uint32(rest), rest[4:]
		}
	case variable:
		n, size := varint(rest)
		if ok = size > 0 && size == varintSize(n); ok {
			f.Int, rest = uint32(n), rest[size:]
		}
	case text, binaryData:
		f.Bytes, rest, ok = takeBytes(rest)
	case textPair:
		if f.Bytes, rest, ok = takeBytes(rest); ok {
			f.Value, rest, ok = takeBytes(rest)
		}
	}
	if !ok {
		return nil, false
	}
	size := len(b) - len(rest)
	f.Raw = b[:size:size]
	return rest, true
}

// The functions below append a property to a raw list. Which identifier has which kind of value is in the standard's table;
// what does not fit it is the caller's mistake and not looked for.

// AppendByteProperty appends a property with a value of one byte.
func AppendByteProperty(dst []byte, id Property, v byte) []byte { return append(dst, byte(id), v) }

// AppendUint16Property appends a property with a value of two bytes.
func AppendUint16Property(dst []byte, id Property, v uint16) []byte {
	return append(dst, byte(id), byte(v>>8), byte(v))
}

// AppendUint32Property appends a property with a value of four bytes.
func AppendUint32Property(dst []byte, id Property, v uint32) []byte {
	return binary.BigEndian.AppendUint32(append(dst, byte(id)), v)
}

// AppendVarintProperty appends a property with a Variable Byte Integer for a value: SubscriptionID, at most MaxRemaining.
func AppendVarintProperty(dst []byte, id Property, v uint32) []byte {
	if v > MaxRemaining {
		panic("packet: a Variable Byte Integer above 268,435,455")
	}
	return appendVarint(append(dst, byte(id)), int(v))
}

// AppendBytesProperty appends a property with a string or binary data of at most 65,535 bytes; it panics when b has more.
func AppendBytesProperty[S Bytes](dst []byte, id Property, b S) []byte {
	return appendBytes(append(dst, byte(id)), b)
}

// AppendUserProperty appends a user property; name and value have at most 65,535 bytes each, or it panics.
func AppendUserProperty[N, V Bytes](dst []byte, name N, value V) []byte {
	return appendBytes(appendBytes(append(dst, byte(UserProperty)), name), value)
}
