"""Plots of what was computed before: each a pure function of data, with its text twin."""

from thplab.show.plots.costs import costs
from thplab.show.plots.footprint import footprint
from thplab.show.plots.held import held
from thplab.show.plots.plot import Plot

__all__ = ["Plot", "costs", "footprint", "held"]
