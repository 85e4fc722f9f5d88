"""Exploration: every interleaving of routines on different CPUs."""

from thplab.study.explore.graph import Graph
from thplab.study.explore.interleavings import Exploration, Failure, explore
from thplab.study.explore.pair import Pair
from thplab.study.explore.pairs import PAIRS
from thplab.study.explore.replay import RaceTrace, replay
from thplab.study.explore.run import RaceRun, Schedule, format_schedule, parse_schedule

__all__ = [
    "PAIRS",
    "Exploration",
    "Failure",
    "Graph",
    "Pair",
    "RaceRun",
    "RaceTrace",
    "Schedule",
    "explore",
    "format_schedule",
    "parse_schedule",
    "replay",
]
