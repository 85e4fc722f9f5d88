"""A state as a picture, as words, as a table of who holds what; numbers as plots."""
