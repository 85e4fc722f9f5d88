"""Families of questions for "check yourself":
each makes a short random scenario and asks about the state in which it ends.

Answers are read from the states. Wrong answers that come from a known misconception say which one.
"""

from thplab.learn.lessons.questions.comparing import memory_in_two_kernels
from thplab.learn.lessons.questions.counters import (
    head_mapcount,
    head_refcount,
    pin_leaves,
    raw_tail_mapcount,
    tail_mapcount,
)
from thplab.learn.lessons.questions.events import freed_by_munmap, page_splits, pmd_splits, refused_splits, split_result
from thplab.learn.lessons.questions.tables import mapped_by_pmd, pmd_split_touches, table_index
from thplab.learn.widgets.question import Family, Question, make

__all__ = [
    "Family",
    "Question",
    "freed_by_munmap",
    "head_mapcount",
    "head_refcount",
    "make",
    "mapped_by_pmd",
    "memory_in_two_kernels",
    "page_splits",
    "pin_leaves",
    "pmd_split_touches",
    "pmd_splits",
    "raw_tail_mapcount",
    "refused_splits",
    "split_result",
    "table_index",
    "tail_mapcount",
]
