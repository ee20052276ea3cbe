package undocumented

type Bare struct{}

// Talker has a method without a contract.
type Talker interface {
	Talk()
	// Listen has one.
	Listen()
	hidden()
}

// Known does nothing, and so its Rest needs no comment.
type Known struct{}

func (Known) Rest() {}

func (Known) Speak() { println() }

func Silent() {}

func hidden() {}

// Documented is.
func Documented() { hidden() }

// These are explained together.
const (
	One = 1
	Two = 2
)

const (
	// First is explained.
	First  = 1
	Second = 2
	Third  = 3 // explained here
	fourth = 4
)

var Loose = fourth
