"""The series: all lessons, in the order in which they are read."""

from thplab.learn.lessons import (
    callers,
    counting,
    footprint,
    merged,
    old_bargain,
    own_kernel,
    page_tables,
    refused,
    split_pmd,
    story,
)

LESSONS = (
    story.lesson,
    page_tables.lesson,
    old_bargain.lesson,
    split_pmd.lesson,
    counting.lesson,
    refused.lesson,
    footprint.lesson,
    callers.lesson,
    merged.lesson,
    own_kernel.lesson,
)
