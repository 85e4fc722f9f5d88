"""What a person marks: a question on each set that is answered in words, and what an exercise is worth."""

from __future__ import annotations

POINTS = {"recall": 1, "apply": 2, "analyse": 3, "create": 4}
"""Points by the level of an exercise."""

WORDS_POINTS = 2

_QUESTIONS = {
    "00_the_whole_story": "why the kernel does not split a huge page that somebody has pinned, and by which numbers it knows",
    "01_page_tables_and_the_fault": "why a page table is put aside when a huge page is mapped, although no entry of it is used",
    "02_the_old_bargain": "what Linux 3.16 could do with a pin of a tail page, and what every get_page() paid for it",
    "03_splitting_one_pmd": "why the mapping of one process can be split without a word to the others that map the page",
    "04_counting_maps": "why one number for the whole page is not enough as soon as it is mapped by PMDs and by PTEs",
    "05_when_the_split_fails": "why -EBUSY is a harmless answer to a split, and why going on in spite of a pin would not be",
    "06_partial_unmap_and_footprint": "why unmapping half of a huge page gives no memory back at once, and when it comes back",
    "07_four_callers": "what one of the four callers does today in place of the split that it once asked for, and what it gains",
    "08_what_was_merged": "in which exercise above two kernels answered differently, and which rule the later one had changed",
    "09_your_own_kernel": "what a program without privileges can see of a huge page in smaps, and what it can not",
    "10_find_the_bug": "with what you would show a maintainer that one of these kernels is wrong, and what the right one shows",
    "11_races": "what in one race above had changed between a check and its use, and what keeps the right kernel from that",
    "12_real_numbers": "which number decided one exercise above, and why no shorter program leaves the same numbers",
}
_ANY = "which rule decided one exercise above, and why the kernel has that rule"


def question(notebook: str) -> str:
    """The question on a set that is answered in words."""
    return f"Say in two sentences {_QUESTIONS.get(notebook, _ANY)}."
