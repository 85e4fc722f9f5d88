"""Refcounting schemes: what the counters of a compound page mean, and only that."""

from thplab.schemes.base import Expected, HeadCounter, Scheme, count_text
from thplab.schemes.double_map import DoubleMap
from thplab.schemes.folio import Folio
from thplab.schemes.rfc import Rfc
from thplab.schemes.tail_pinning import TailPinning

__all__ = ["DoubleMap", "Expected", "Folio", "HeadCounter", "Rfc", "Scheme", "TailPinning", "count_text"]
