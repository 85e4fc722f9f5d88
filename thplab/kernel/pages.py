"""What a scheme needs done with pages:
a reference on one that may be freed already, freeing, the deferred split queue.
"""

from __future__ import annotations

from thplab.errors import KernelBug
from thplab.hardware.frames import PG_partially_mapped, PG_swapcache, PG_tail, single
from thplab.hardware.steps import Routine, change, phrase, read, routine
from thplab.kernel.memory import Memory


@routine
def get_page_unless_zero(memory: Memory, head: int) -> Routine[bool]:
    """Take a reference on a head or a small page that may be freed at any time;
    returns False if it has none any more.
    """
    if not memory.frames.ref_inc_not_zero(head):
        yield read("get_page_unless_zero: no, the page is being freed")
        return False
    yield change(
        f"{memory.pages_text(single(head))} {memory.refcount_name} += 1",
        "Whoever works on a page holds a reference of its own.",
    )
    return True


def put_small_pages(memory: Memory, pages: slice) -> Routine[None]:
    """Drop one reference of each of these pages that are not compound; free those that had no other."""
    parts = memory.each(pages)
    frames = memory.frames
    for part in parts:
        frames.ref_add(part, -1)
        freed = frames.runs_in_blocks((frames.refcount[part] == 0).nonzero()[0] + part.start)
        yield change(f"{memory.pages_text(part)} {memory.refcount_name} -= 1")
        if freed:
            for first, count in freed:
                frames.free_small_pages(first, count)
            total = sum(count for _, count in freed)
            yield change("free " + (f"{total} pages" if total > 1 else memory.page_name(freed[0][0])))


@phrase("give the page back")
def free_page(memory: Memory, page: int) -> Routine[None]:
    """Give back a page, or a whole compound page by its head, whose last reference was just dropped."""
    frames = memory.frames
    if frames.flags[page] & PG_tail:
        raise KernelBug(f"free of a tail, {memory.page_name(page)}")
    order = frames.order(page)
    if page in memory.deferred:
        yield from memory.cpus.lock("split_queue_lock")
        yield from clear_partially_mapped(memory, page)
        memory.deferred.pop(page, None)
        yield change("off the deferred split queue")
        yield from memory.cpus.unlock("split_queue_lock")
    frames.free_pages(page, order)
    yield change(
        f"free the compound page, {1 << order} frames" if order else f"free {memory.page_name(page)}",
        "The last reference is gone."
        if not order
        else "A compound page is freed as one: only when nobody holds any part of it.",
    )


def clear_partially_mapped(memory: Memory, page: int) -> Routine[None]:
    """A huge page that is about to leave the deferred split queue is not marked any more.
    Called under the lock of the queue.
    """
    if memory.frames.flags[page] & PG_partially_mapped:
        memory.frames.flags[page] &= ~PG_partially_mapped
        yield change("the mark goes: it is not partially mapped any more")


@routine
def deferred_split_huge_page(memory: Memory, head: int, partially_mapped: bool = True, times: int = 1) -> Routine[None]:
    """Queue a huge page for memory pressure to split (mm/huge_memory.c): some part of it is mapped no more, or, if not
    `partially_mapped`, it is new and might turn out to be hardly used.

    Does nothing for a page in the swap cache: reclaim is at it already. `times` counts the calls that a vectorised step
    stands for: each takes the lock, the first one queues the page.
    """
    if memory.frames.flags[head] & PG_swapcache:
        yield read("the page is in the swap cache: reclaim is at it already")
        return
    yield from memory.cpus.lock("split_queue_lock")
    memory.costs.locks["split_queue_lock"] += times - 1
    marks = memory.queues_new  # else being on the queue says it
    if marks and partially_mapped and not memory.frames.flags[head] & PG_partially_mapped:
        memory.frames.flags[head] |= PG_partially_mapped
        if memory.frames.is_huge(head):
            memory.count_vm_event("thp_deferred_split_page")
        yield change("mark the page partially mapped", "A part of it is of no use to anybody: reclaim may split it.")
    if head not in memory.deferred:
        memory.deferred[head] = None
        if not marks:
            memory.count_vm_event("thp_deferred_split_page")
        yield change(
            "queue the page for a deferred split", "A part of it is of no use to anybody." if partially_mapped else ""
        )
    yield from memory.cpus.unlock("split_queue_lock")
