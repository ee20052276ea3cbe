package load

import (
	"strconv"
	"time"
)

// A Span is a duration in a report. In text it is rounded to three digits; in
// JSON it is a number of seconds.
type Span time.Duration

// String returns s rounded to three digits: 1.23ms, 45.6µs, 5s.
func (s Span) String() string {
	d := time.Duration(s)
	if d >= 1000*time.Second {
		return d.Round(time.Second).String()
	}
	unit := time.Duration(1)
	for d >= 1000*unit {
		unit *= 10
	}
	return d.Round(unit).String()
}

// MarshalJSON returns s in seconds.
func (s Span) MarshalJSON() ([]byte, error) {
	return strconv.AppendFloat(nil, time.Duration(s).Seconds(), 'f', -1, 64), nil
}
