"""Mutants of those who take and drop references: pins, the swap cache, the end of an unmap."""

from __future__ import annotations

from thplab.kernel.mutants.mutant import Mutant, TruthRow
from thplab.kernel.routines import gup, pins, swap

MUTANTS = {
    "pins_the_tail": Mutant(
        "GUP-fast takes the reference of a pin on the tail itself, whose count must stay 0",
        {"gup_get_pages": gup.pins_the_tail},
        "references_are_mappings_and_pins",
    ),
    "forgets_that_it_has_pinned": Mutant(
        "the mm does not remember its FOLL_PIN pins: a fork shares the page, and the driver goes on with what the "
        "next write leaves behind",
        {"get_user_pages": gup.forgets_that_it_has_pinned},
        TruthRow("linux-5.10.jsonl", "pin_dma_then_fork", "A.R.pmd"),
        kernel="v5.10",
        scenario="mmap A; write A 0; pin A 1 1 dma how=io_uring; fork A B; write A 1",
    ),
    "forgets_the_pincount": Mutant(
        "unpin drops the reference of a FOLL_PIN pin, but not the pin count of the head",
        {"put_user_pages": pins.forgets_the_pincount},
        "pincounts_count_pins",
        kernel="v5.10",
        scenario="mmap A; write A 0; pin A 1 1 dma how=io_uring; unpin dma",
    ),
    "frees_what_nobody_maps": Mutant(
        "a page is freed with its last mapping, although a driver has pinned it",
        {"free_pages_and_swap_cache": swap.frees_what_nobody_maps},
        "nothing_in_use_is_free",
        scenario="pinned_munmap",
    ),
    "keeps_the_caches_reference": Mutant(
        "a page leaves the swap cache, but the cache's reference stays: the page will never be freed",
        {"put_cache_references": swap.keeps_the_caches_reference},
        "references_are_mappings_and_pins",
        scenario="env swap\nmmap A; write A 0; swap_out A 0; write A 0; exit A",
    ),
    "forgets_the_second_entry": Mutant(
        "fork copies a swap entry without counting it: the slot is free when the first of the two is gone",
        {"swap_duplicate": swap.forgets_the_second_entry},
        "slots_count_swap_entries",
        scenario="env swap\nmmap A; write A 0; swap_out A 0; fork A B",
    ),
}
