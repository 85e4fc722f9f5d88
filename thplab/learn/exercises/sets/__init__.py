"""The sets of exercises, one module each."""
