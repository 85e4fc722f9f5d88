"""The kernel's routines as generators of atomic steps: one file per concern, under the kernel's own names.

Each opens with its contract: what it does, under which locks it is called, what it returns on failure, what it leaves
alone. Errors are returned as the kernel returns them. `@routine` marks a function of the kernel's, `@phrase` a part of
one that has no name there; what each kernel calls it is in thplab/kernel/names.py. docs/architecture.md has the rules
of the step protocol.
"""
