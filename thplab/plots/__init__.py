"""Plots of what was computed before: each a pure function of data, with its text twin."""

from thplab.plots.costs import costs
from thplab.plots.footprint import footprint
from thplab.plots.held import held
from thplab.plots.plot import Plot

__all__ = ["Plot", "costs", "footprint", "held"]
