"""Exploration: every interleaving of routines on different CPUs."""

from thplab.explore.interleavings import Exploration, Failure, explore, play
from thplab.explore.pairs import PAIRS, Pair

__all__ = ["PAIRS", "Exploration", "Failure", "Pair", "explore", "play"]
