"""Fuzzing: wrong and right inputs, drawn at random, for everything that takes input. `make fuzz` does it for an hour."""
