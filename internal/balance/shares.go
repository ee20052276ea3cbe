package balance

// Turns is how many requests a selector assigned to a worker, and how many would
// have been its fair share: of each request, the worker's fraction of the weights
// of all workers that were open then. A further attempt is a turn like any other.
type Turns struct {
	Assigned int
	Fair     float64
}

// shares keeps the fair shares up to date. Each choice gives each open member its
// fraction. What was given for each unit of weight is one sum for all members; a
// member's part is worked out when it is asked for, or when the member is open no
// longer.
type shares struct {
	weights int       // of the open members together
	unit    float64   // 1/weights: what a choice gives for each unit of weight
	given   []float64 // what all choices have given for it, by the selector's index
}

// turns is what a member had of one selector.
type turns struct {
	assigned int
	fair     float64 // up to the time when the member became open
	since    float64 // shares.given at that time
}

// count counts a choice of m, before it changes m's grade.
func (s *shares) count(m *member, selector int) {
	t := &m.turns[selector]
	t.assigned++
	if m.grade == open {
		s.given[selector] += s.unit
	} else {
		t.fair++
	}
}

// joined is called when m has become what its grade says, and settle when it
// will be that no longer.
func (s *shares) joined(m *member) {
	if m.grade != open {
		return
	}
	s.weigh(m.weight)
	for i := range m.turns {
		m.turns[i].since = s.given[i]
	}
}

func (s *shares) settle(m *member) {
	if m.grade != open {
		return
	}
	s.weigh(-m.weight)
	for i := range m.turns {
		m.turns[i].fair += s.earned(m, i)
	}
}

func (s *shares) weigh(more int) {
	s.weights += more
	s.unit = 1 / float64(s.weights)
}

func (s *shares) earned(m *member, selector int) float64 {
	if m.grade != open {
		return 0
	}
	return float64(m.weight) * (s.given[selector] - m.turns[selector].since)
}

// of returns the turns that m has had, by the selector's index.
func (s *shares) of(m *member) []Turns {
	all := make([]Turns, len(m.turns))
	for i, t := range m.turns {
		all[i] = Turns{Assigned: t.assigned, Fair: t.fair + s.earned(m, i)}
	}
	return all
}
