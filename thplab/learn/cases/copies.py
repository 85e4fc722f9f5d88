"""Cases about copy-on-write: who gets a copy, of how much, and who is left on the old page."""

from __future__ import annotations

from dataclasses import replace

from thplab.learn.cases.case import Ask, Case, Raced, RacedFigure
from thplab.learn.cases.glance import Glance
from thplab.learn.lessons.figure import Figure, after
from thplab.learn.lessons.lesson import Show
from thplab.machine.state import State
from thplab.machine.trace import Setup
from thplab.study.explore.pairs import pair_named


def _full(kernel: str) -> Setup:
    return Setup(kernel, "X86_64")


def _byte(content: int | None) -> str:
    return f"0x{(content or 0) & 0xFF:02x}"


# --- 1 ----------------------------------------------------------------------------------------------------------------

_PIPE = """
phase Parent and child share a huge page
mmap A
fill A 0 1thp same
fork A B
phase The child gives it to a pipe and forgets it
why vmsplice puts the page itself into the pipe, not a copy.
why B has nothing to do with this memory any more, but for the pipe.
pin B 0 1 p
munmap B 0 1thp
phase The parent writes
why A writes 0x99 over 0x77.
write A 0 1 value=0x99
"""

PIPE = Case(
    "01_a_pipe_shows_a_later_write",
    "A pipe shows what the other process wrote later",
    shows={
        "v5.10": Show(_PIPE, _full("v5.10"), step="The child gives it to a pipe and forgets it"),
        "v6.1": Show(_PIPE, _full("v6.1"), step="The child gives it to a pipe and forgets it"),
    },
    looks=(
        Glance("after B's munmap, before A writes", op=4, smaps={"A": ("Rss", "AnonHugePages")}, pipes=("p",)),
        Glance(
            "after A has written",
            smaps={"A": ("Rss", "AnonHugePages")},
            events=("thp_split_pmd", "thp_fault_alloc"),
            pipes=("p",),
        ),
    ),
    ask=Ask(
        "The huge page held 0x77 at the fork. Now A has written 0x99 to its first byte. Linux 5.10: what does B read "
        "from the pipe?",
        lambda end: _byte(end.pin_contents("p")[0]),
        ("0x77", "0x99"),
        "A's mapping is the only one that is left, so the page counts as A's own and is written in place. The pipe has "
        "no mapping, only a reference, and reads the same page.",
        {"0x77": "The pipe holds the page, not what was in it. Who asks only for mappings does not see the pipe."},
    ),
    cause=Figure(_PIPE, after("write"), _full("v5.10")),
    live="mmap A; fill A 0 1thp same; fork A B; pin B 0 1 p; munmap B 0 1thp; write A 0 1 value=0x99",
)

# --- 2 ----------------------------------------------------------------------------------------------------------------


def _direct_io(pin: str) -> str:
    return f"""
phase A direct read is under way
why The file's data are to land in page 2. The device will write there, later.
mmap A
fill A 0 1thp same
pin A 2 1 p {pin}
phase Somebody forks
fork A B
phase The process uses its memory
why A writes to a part of page 2 that the file's data do not concern.
write A 2 1 value=0x99
phase The device delivers
why The data of the file arrive: 0x11.
dma_write p 0 value=0x11
"""


DIRECT_IO = Case(
    "02_direct_io_and_fork",
    "A read from the disk never arrives",
    shows={
        "v6.1": Show(_direct_io("gupw"), _full("v6.1"), step="Somebody forks"),
        "v6.12": Show(_direct_io("io_uring"), _full("v6.12"), step="Somebody forks"),
    },
    looks=(
        Glance(
            "after the device has delivered 0x11",
            smaps={"A": ("Rss", "Pss", "AnonHugePages"), "B": ("Rss", "Pss", "AnonHugePages")},
            events=("thp_split_pmd",),
            memory=(("A", 2), ("B", 2)),
        ),
    ),
    ask=Ask(
        "Linux 6.1. A direct read into page 2 of A is under way, A forks B and writes 0x99 to page 2; then the device "
        "delivers 0x11. What do A and B read in page 2?",
        lambda end: f"A reads {_byte(end.contents('A')[2])}, B reads {_byte(end.contents('B')[2])}",
        ("A reads 0x11, B reads 0x77", "A reads 0x99, B reads 0x11", "A reads 0x11, B reads 0x11"),
        "After the fork the page is shared, so A's write is given a copy. The device still has the old page, which by "
        "now is B's alone.",
        {
            "A reads 0x11, B reads 0x77": "That would be so if the fork had seen the device and left the page to A.",
            "A reads 0x11, B reads 0x11": "The device writes to one page, and A and B no longer have the same.",
        },
    ),
    cause=Figure(_direct_io("gupw"), after("dma_write"), _full("v6.1")),
    live="mmap A; fill A 0 1thp same; pin A 2 1 p io_uring; fork A B; write A 2 value=0x99",
)

# --- 5 ----------------------------------------------------------------------------------------------------------------

_DATABASE = """
phase A database with its data in two huge pages
mmap A 2thp
fill A 0 2thp
phase It forks a child that saves a snapshot
fork A B
phase Clients go on writing
why One byte in each huge page.
write A 0
write A 513
"""

DATABASE = Case(
    "05_a_fork_copies_2_mib",
    "A byte written after fork copies 2 MiB",
    shows={
        "v4.5": Show(_DATABASE, _full("v4.5"), step="Clients go on writing"),
        "v5.10": Show(_DATABASE, _full("v5.10"), step="Clients go on writing"),
    },
    looks=(
        Glance("after the fork", op=2, smaps={"A": ("Rss", "Pss", "AnonHugePages")}, events=("thp_fault_alloc",)),
        Glance(
            "after two writes of one byte each",
            smaps={"A": ("Rss", "Pss", "AnonHugePages")},
            events=("thp_fault_alloc",),
        ),
    ),
    ask=Ask(
        "Linux 4.5. A and B share two huge pages. A writes one byte into each. How many KiB are copied?",
        lambda end: 2048 * (end.vmstat["thp_fault_alloc"] - 2) or 8,
        (8, 2048, 4096),
        "Each write is answered with a new huge page, into which all of the old one is copied.",
        {
            8: "One page of 4 KiB for each write: that is Linux 5.8 and later.",
            2048: "Each of the two huge pages is written to, and each is copied.",
        },
    ),
    cause=Figure(_DATABASE, after("write", 3), _full("v4.5")),
    live="mmap A 2thp; fill A 0 2thp; fork A B; write A 0; write A 513",
)

# --- 7 ----------------------------------------------------------------------------------------------------------------

_TWO_WORDS_READ = 9
"""Steps of CPU 1 after which it has read both mapcounts and not yet compound_mapcount."""


def _raced(name: str, schedule: str) -> Raced:
    """The pair of that name, with contents by which a reader sees who reads whose write."""
    named = pair_named(name)
    prepare, cpus = "mmap A; fill A 0 1thp same; fork A B", ("split_pmd B 0", "write A 0 value=0x99")
    return Raced(replace(named, prepare=prepare, cpus=cpus, keeps=(("B", 0, 0x77),)), schedule, _TWO_WORDS_READ)


_TORN = _raced("torn-mapcount-and-pmd-split", "1x9 0x21 1x9")
_WHOLE = _raced("mapcount-and-pmd-split", "1x9 0x5 1x46 0x22")


def _in_b(end: State) -> str:
    return _byte(end.contents("B")[0])


MAPCOUNT = Case(
    "07_a_mapcount_read_word_by_word",
    "A write reaches the other process, once in a blue moon",
    shows={"before 5.8": _TORN, "v5.10": _WHOLE},
    looks=(Glance("after both CPUs are done", memory=(("A", 0), ("B", 0))),),
    ask=Ask(
        "A and B share a huge page that holds 0x77. On one CPU the PMD of B is being split; on another A writes 0x99 "
        "to page 0, before 5.8. What can B read in page 0 afterwards?",
        lambda end: "0x77 or 0x99, it depends" if _in_b(end) == "0x99" else "always 0x77",
        ("always 0x77", "always 0x99", "0x77 or 0x99, it depends"),
        "The write asks how often the page is mapped, and the answer is put together from several words. A split "
        "moves a mapping from one word to another in the meantime.",
        {
            "always 0x77": "So copy-on-write promises, and so it is in nearly every order of the steps.",
            "always 0x99": "As a rule the write sees both mappings and copies.",
        },
    ),
    cause=RacedFigure(_TORN),
    live="mmap A; fill A 0 1thp; fork A B; write A 0",
)

# --- 10 ---------------------------------------------------------------------------------------------------------------

_ALONE = """
phase A huge page, mapped by PTEs, is shared
why A's PMD becomes 512 PTEs. The page stays in one piece.
mmap A
fill A 0 1thp
fork A B
mprotect A 0 1 r
mprotect A 0 1 rw
phase The child is gone
exit B
phase A writes to what is its own again
write A 0 8
"""


ALONE = Case(
    "10_copied_though_nobody_shares",
    "A page is copied though nobody shares it",
    shows={
        "v6.12": Show(_ALONE, _full("v6.12"), step="A writes to what is its own again"),
        "v6.18": Show(_ALONE, _full("v6.18"), step="A writes to what is its own again"),
    },
    looks=(
        Glance("after B's exit", op=5, smaps={"A": ("Rss", "Pss")}, pagemap="A", events=("thp_deferred_split_page",)),
        Glance("after A has written to 8 pages", smaps={"A": ("Rss", "Pss")}, events=("thp_deferred_split_page",)),
    ),
    ask=Ask(
        "Linux 6.12. B has exited, and A alone maps the huge page, by 512 PTEs. A writes to 8 of its pages. How many "
        "pages are copied?",
        lambda end: 8 if end.vmstat["thp_deferred_split_page"] else 0,
        (0, 8, 512),
        "The whole huge page has one reference count, and 511 other PTEs hold references. So the test 'is the count "
        "1?' says that somebody else is there.",
        {
            0: "Nobody shares it, that is true. But the kernel asks the reference count, which counts A's other PTEs.",
            512: "Only what is written to is copied.",
        },
    ),
    cause=Figure(_ALONE, after("write"), _full("v6.12")),
    live="mmap A; fill A 0 1thp; fork A B; mprotect A 0 1 r; mprotect A 0 1 rw; exit B; write A 0 8",
)


