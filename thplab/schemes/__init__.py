"""Refcounting schemes: what the counters of a compound page mean, and only that."""

from thplab.schemes.base import Expected, HeadCounter, Scheme
from thplab.schemes.double_map import DoubleMap
from thplab.schemes.folio import Folio
from thplab.schemes.rfc import Rfc

__all__ = ["DoubleMap", "Expected", "Folio", "HeadCounter", "Rfc", "Scheme"]
