"""The series: all lessons, in the order in which they are read."""

from thplab.lessons import callers, footprint, merged, old_bargain, own_kernel, page_tables, refused, story

LESSONS = (
    story.lesson,
    page_tables.lesson,
    old_bargain.lesson,
    refused.lesson,
    footprint.lesson,
    callers.lesson,
    merged.lesson,
    own_kernel.lesson,
)
