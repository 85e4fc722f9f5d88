"""A machine to operate: the public calls with their checks, states, and traces that go back and forth."""
