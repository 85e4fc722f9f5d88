"""Exploration: every interleaving of routines on different CPUs."""

from thplab.explore.graph import Graph
from thplab.explore.interleavings import Exploration, Failure, explore
from thplab.explore.pair import Pair
from thplab.explore.pairs import PAIRS
from thplab.explore.replay import RaceTrace, replay
from thplab.explore.run import Run, Schedule, format_schedule, parse_schedule

__all__ = [
    "PAIRS",
    "Exploration",
    "Failure",
    "Graph",
    "Pair",
    "RaceTrace",
    "Run",
    "Schedule",
    "explore",
    "format_schedule",
    "parse_schedule",
    "replay",
]
