"""Scenarios: operations as plain data, with a text form in which parse and format are inverses.

>>> Scenario.parse("mmap A 1thp; write A 0; fork A B; mprotect B 1/2thp 1 r").line()
'mmap A; write A 0; fork A B; mprotect B 1/2thp 1 r'
"""

from thplab.scenario.builtin import builtin, load
from thplab.scenario.operation import Operation, Phase
from thplab.scenario.pages import Pages
from thplab.scenario.scenario import Scenario
from thplab.scenario.vocabulary import VOCABULARY, FieldSpec, OpSpec

__all__ = ["VOCABULARY", "FieldSpec", "OpSpec", "Operation", "Pages", "Phase", "Scenario", "builtin", "load"]
