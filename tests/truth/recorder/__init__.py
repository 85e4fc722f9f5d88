"""Asks a real kernel, in an emulator, what an operation does, and what there is after it. README.md says how."""
