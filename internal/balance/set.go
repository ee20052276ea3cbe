package balance

import "math/bits"

// A set is a set of small numbers, a bit for each. The zero value is empty.
type set []uint64

func (s set) has(i int) bool { return i/64 < len(s) && s[i/64]>>(i%64)&1 != 0 }

func (s *set) add(i int) {
	for len(*s) <= i/64 {
		*s = append(*s, 0)
	}
	(*s)[i/64] |= 1 << (i % 64)
}

func (s set) remove(i int) {
	if i/64 < len(s) {
		s[i/64] &^= 1 << (i % 64)
	}
}

// next returns the smallest number in the set that is not below from, or -1.
func (s set) next(from int) int {
	for w := from / 64; w < len(s); w++ {
		word := s[w]
		if w == from/64 {
			word &= ^uint64(0) << (from % 64)
		}
		if word != 0 {
			return w*64 + bits.TrailingZeros64(word)
		}
	}
	return -1
}

// nextAround is next, but begins again at 0 if there is none from there on.
func (s set) nextAround(from int) int {
	if i := s.next(from); i >= 0 {
		return i
	}
	return s.next(0)
}
