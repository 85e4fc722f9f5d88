"""The agent: a process that performs scenarios on real memory. Pure Python over ctypes;
nothing of it runs in the learner's process.

It is started with this package alone on its path (see thplab.study.live.driver), hence the relative imports: what forks
must have no threads, and numpy starts some when it is loaded.
"""

ARCHITECTURES = {"x86_64": 56, "aarch64": 220}
"""Machine -> the number of its system call clone(), of which the C library gives no more than fork()."""
