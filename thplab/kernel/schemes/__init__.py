"""Refcounting schemes: what the counters of a compound page mean, and only that."""

from thplab.kernel.schemes.base import Expected, HeadCounter, Scheme, count_text
from thplab.kernel.schemes.double_map import DoubleMap
from thplab.kernel.schemes.folio import Folio
from thplab.kernel.schemes.rfc import Rfc
from thplab.kernel.schemes.tail_pinning import TailPinning

__all__ = ["DoubleMap", "Expected", "Folio", "HeadCounter", "Rfc", "Scheme", "TailPinning", "count_text"]
