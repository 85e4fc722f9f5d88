"""Cases about copy-on-write: who gets a copy, of how much, and who is left on the old page."""

from __future__ import annotations

from dataclasses import replace

from thplab.learn.cases.case import Ask, Case, Raced, RacedFigure
from thplab.learn.cases.glance import Glance
from thplab.learn.lessons.figure import Figure, after
from thplab.learn.lessons.lesson import Show
from thplab.learn.lessons.places import first_head, op_end
from thplab.machine.trace import Setup, Trace
from thplab.study.explore.pairs import pair_named
from thplab.study.observe import smaps


def _full(kernel: str) -> Setup:
    return Setup(kernel, "X86_64")


def _references(trace: Trace) -> int:
    """Of the huge page, at the end."""
    return trace[-1].state.field("refcount", first_head(trace))


def _mappers(trace: Trace) -> list[str]:
    """Who maps the page that the pin is about, at the end."""
    state = trace[-1].state
    (pfn,) = state.pins["p"].buffer
    return sorted({m.process for m in state.mapped if pfn in m.pages})


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
        "A writes at last. A's mapping is the only one that is left. How many references does the huge page have at "
        "that moment?",
        _references,
        (1, 2, 3),
        "One for A's mapping, and one for the pipe. So 'who maps it?' and 'who holds it?' have different answers.",
        {
            1: "A pipe holds the page without mapping it, and what is held must not be freed.",
            3: "B has unmapped it, and its reference is gone with the mapping.",
        },
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
        "The data arrive in the page that the device took when the read began. Whose page is that by now: who maps it?",
        lambda trace: " and ".join(_mappers(trace)),
        ("A", "A and B", "B"),
        "After the fork the page was shared, so A's write was given a copy. The device still has the old page, which "
        "by now is B's alone.",
        {
            "A": "That would be so if the fork had seen the device and had left the page to A.",
            "A and B": "So it was until A wrote; since then A has a page of its own in that place.",
        },
    ),
    cause=Figure(_direct_io("gupw"), after("dma_write"), _full("v6.1")),
    live="mmap A; fill A 0 1thp same; pin A 2 1 p io_uring; fork A B; write A 2 value=0x99; "
    "dma_write p value=0x11; read A 2 1",
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
        "Since Linux 5.8 such a write copies one small page. What does AnonHugePages of A show then, after both "
        "writes, in kB?",
        lambda trace: smaps(trace[-1].state, "A")["AnonHugePages"],
        (0, 2048, 4096),
        "To give A one small page of its own, the kernel first turns A's PMD into 512 PTEs, for each of the two.",
        {
            2048: "There were two huge mappings, and A has written through each.",
            4096: "A PMD maps 2 MiB or nothing. With one small page of its own in between, A needs PTEs.",
        },
        of="v5.10",
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


_MAPCOUNTS_FIRST = "the mapcounts first"
_COMPOUND_FIRST = "compound_mapcount first"


def _order_read(trace: Trace) -> str:
    """In which order CPU 1 has read the words."""
    texts = [frame.step.text for frame in trace if frame.cpu == 1 and frame.step is not None]
    read = [text for text in texts if "mapcount:" in text]
    return _COMPOUND_FIRST if read[0].startswith("compound_") else _MAPCOUNTS_FIRST


MAPCOUNT = Case(
    "07_a_mapcount_read_word_by_word",
    "A write reaches the other process, once in a blue moon",
    shows={"before 5.8": _TORN, "v5.10": _WHOLE},
    looks=(Glance("after both CPUs are done", memory=(("A", 0), ("B", 0))),),
    ask=Ask(
        "How often the page is mapped is the sum of two kinds of words: the mapcounts of the small pages (mappings by "
        "PTEs), and compound_mapcount (by PMDs). The split of B's PMD raises the first, then lowers the second. In "
        "which order must A's CPU have read them to miss B?",
        _order_read,
        (_MAPCOUNTS_FIRST, _COMPOUND_FIRST, "no matter"),
        "It reads the mapcounts before the split raises them, and compound_mapcount after the split has lowered it. B "
        "is in neither number.",
        {
            _COMPOUND_FIRST: "Then B is seen in the first word, and perhaps a second time in the others: one too many.",
            "no matter": "Read the other way round, B is counted once or twice, and A gets a copy.",
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
        "B has exited, and A alone maps the huge page, by 512 PTEs. How many references does it have when A writes for "
        "the first time?",
        lambda trace: trace[op_end(trace, 5)].state.field("refcount", first_head(trace)),
        (1, 2, 512),
        "Each PTE holds one. The huge page has one reference count, so all of A's own mappings stand there.",
        {
            1: "One process maps it, but by 512 entries, and each of them counts.",
            2: "B's references went with B. What is counted there is all A's.",
        },
    ),
    cause=Figure(_ALONE, after("write"), _full("v6.12")),
    live="mmap A; fill A 0 1thp; fork A B; mprotect A 0 1 r; mprotect A 0 1 rw; exit B; write A 0 8",
)


