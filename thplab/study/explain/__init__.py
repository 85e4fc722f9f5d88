"""Explaining what a real kernel shows: smaps, /proc/vmstat and dumps, held against scenarios of the simulator."""

from thplab.study.explain.dump import dump
from thplab.study.explain.explanation import DEFAULT_KERNEL, Explained, Given, Passage, explain_texts

__all__ = ["DEFAULT_KERNEL", "Explained", "Given", "Passage", "dump", "explain_texts"]
