"""What an order of stores, or of a store and a flush, protects:
each as a pair, with the other order and with the kernel's own.
"""

from __future__ import annotations

from dataclasses import replace

from thplab.hardware.geometry import TINY
from thplab.kernel.kernels import kernel
from thplab.kernel.routines.gup import sees_no_fork
from thplab.study.explore.pair import Pair


def _other_order(pair: Pair, name: str, about: str, policy: str, value: object, *sees: tuple[int, str]) -> Pair:
    """The pair on a kernel that has one policy of another one."""
    wrong = kernel(str(pair.kernel)).but({policy: value})
    return replace(pair, name=name, about=about, kernel=wrong, loses=True, sees=sees)


_WRITE = Pair(
    "pmd-split-and-write",
    "The split hides the PMD and flushes, then reads its dirty bit: whatever a CPU has noted there by then goes along.",
    "docs/KERNEL.md 6.9",
    "mmap A; write A 0; madvise A 0 1thp free",
    ("split_pmd A 0; madvise A 0 1thp pageout", "write A 1 value=0x42"),
    loses=False,
    kernel="v5.10",
    geometry=TINY,
    keeps=(("A", 1, 0x42),),
)
_LATE_WRITE = _other_order(
    _WRITE,
    "late-pmd-split-and-write",
    "The PMD is hidden last, as before 4.16: a CPU sets its dirty bit after it was read. Reclaim takes the page "
    "for clean.",
    "split.invalidates_first",
    False,
    (0, "fill a PTE: P·RW·U"),
    (1, "A writes the page"),
    (0, "PMD marked not present"),
    (0, "PTE cleared"),
    (0, "free pfn 0x3"),
)
_DMA_PIN = Pair(
    "pmd-split-and-dma-pin",
    "The PMD is hidden and flushed before the split asks whether a driver has pinned the page: no GUP-fast can pin it "
    "afterwards.",
    "docs/KERNEL.md 6.9",
    "mmap A; write A 0",
    ("split A 0", "pin A 1 1 dma how=io_uring; unpin dma"),
    loses=False,
    kernel="v6.12",
    geometry=TINY,
)
_LATE_DMA_PIN = _other_order(
    _DMA_PIN,
    "late-pmd-split-and-dma-pin",
    "The PMD is hidden last: a GUP-fast pins the page after the split has asked, and the page does not say any more "
    "whose it is.",
    "split.invalidates_first",
    False,
    (0, "head not exclusive any more"),
    (1, "read the PMD: P·RW·U·A·D·PSE"),
    (1, "head _pincount += 1"),
    (1, "read the PMD again: the same"),
)
_REMAP = Pair(
    "remap-and-dma-pin",
    "What a page is must stand there before an entry leads to it: the mapping is counted, the page is exclusive, then "
    "the PTE is set.",
    "docs/KERNEL.md 6.10",
    "mmap A; write A 0; split_pmd A 0",
    ("split A 0", "pin A 0 1 dma how=io_uring; unpin dma"),
    loses=False,
    kernel="v6.12",
    geometry=TINY,
)
_LATE_REMAP = _other_order(
    _REMAP,
    "late-count-remap-and-dma-pin",
    "The PTE first, as v5.10 did: a GUP-fast pins through a writable entry a page that is nobody's own yet.",
    "migration.counts_before_entry",
    False,
    (0, "PTE = the page again"),
    (1, "read the PTE: P·RW·U·A·D"),
    (1, "try_get: pfn 0x2 _refcount += 1024"),
    (1, "read the PTE again: the same"),
)
_FORK = Pair(
    "fork-and-dma-pin",
    "A fork marks the page as shared, then write-protects the PTE. A GUP-fast in between sees by write_protect_seq "
    "that it must let go.",
    "docs/KERNEL.md 6.11",
    "mmap A; write A 0; split_pmd A 0",
    ("fork A B", "pin A 1 1 dma how=io_uring; unpin dma"),
    loses=False,
    kernel="v6.12",
    geometry=TINY,
)
_UNSEEN_FORK = replace(
    _FORK,
    name="unseen-fork-and-dma-pin",
    about="The same without a look at write_protect_seq, as before 5.11: the driver holds a page that A's next write "
    "leaves behind.",
    loses=True,
    variants={"read_write_protect_seq": sees_no_fork},
    sees=(
        (0, "tail 1 PG_anon_exclusive cleared"),
        (1, "write_protect_seq is not looked at"),
        (1, "read the PTE: P·RW·U·A·D"),
        (1, "head _pincount += 1"),
    ),
)
_WALK = Pair(
    "split-and-pfn-walk",
    "A tail is made a page of its own before it has a reference: whoever walks over all page frames finds a count of "
    "0 until then.",
    "docs/KERNEL.md 6.12",
    "mmap A; write A 0; split_pmd A 0",
    ("split A 0", "split A 0 how=debugfs"),
    loses=False,
    kernel="v5.10",
    geometry=TINY,
)
_EARLY_WALK = _other_order(
    _WALK,
    "early-reference-split-and-pfn-walk",
    "The reference first: a walker takes one of a page that is still a tail, and gives it back to the head.",
    "split.tail_reference",
    "first",
    (0, "tail 1 _refcount = 1"),
    (1, "tail 1 _refcount += 1"),
    (1, "head _refcount -= 1"),
)
_MREMAP = Pair(
    "mremap-and-migrate",
    "mremap flushes before it lets go of the page table locks: nobody gets at the moved entry as long as a CPU may "
    "use the old address.",
    "docs/KERNEL.md 6.13",
    "mmap A advise=none; write A 0",
    ("mremap A 0 1 to=R at=1", "migrate A 0", "write A 0"),
    loses=False,
    kernel="v5.10",
    geometry=TINY,
)
_LATE_MREMAP = _other_order(
    _MREMAP,
    "late-flush-mremap-and-migrate",
    "The flush after the locks (CVE-2018-18281): the page moves on and is freed while a CPU still writes to it by the "
    "old address.",
    "mm.mremap_flushes_locked",
    False,
    (2, "the CPU looks the address up: pfn 0x3"),
    (0, "the same PTE at the new place"),
    (1, "PTE cleared"),
    (1, "flush the TLB: the frozen pages of A"),
    (1, "free pfn 0x3"),
)

_MAPCOUNT = Pair(
    "mapcount-and-pmd-split",
    "A write asks how often the huge page is mapped, word by word. Since 5.8 a PMD split holds the page lock, as the "
    "question does: it cannot pass by in between.",
    "docs/KERNEL.md 6.14",
    "mmap A; write A 0; fork A B",
    ("split_pmd B 0", "write A 0"),
    loses=False,
    kernel="v5.10",
    geometry=TINY,
)
_TORN_MAPCOUNT = _other_order(
    _MAPCOUNT,
    "torn-mapcount-and-pmd-split",
    "No page lock in the split, as from 4.6 to 5.7 (CVE-2020-29368): the mapping of B is counted neither where it was "
    "nor where it is now. A writes into what B maps.",
    "split.locks_page",
    False,
    (1, "PageDoubleMap: not set"),
    (0, "compound_mapcount -= 1"),
    (1, "compound_mapcount: 1 PMDs"),
    (1, "is it mapped once? yes"),
    (1, "PMD made writable in place"),
)
_FREE = Pair(
    "free-and-dontneed",
    "MADV_FREE hides the PMD while it changes it, which is still huge: MADV_DONTNEED on another CPU waits for the "
    "lock, and takes the page away.",
    "docs/KERNEL.md 6.15",
    "mmap A; write A 0 1thp value=0x42",
    ("madvise A 0 1thp free", "madvise A 0 1thp dontneed"),
    loses=False,
    kernel="v5.10",
    geometry=TINY,
    keeps=(("A", 0, 0),),
    swap="swap",
)
_EMPTY_FREE = replace(
    _FREE,
    name="emptied-free-and-dontneed",
    about="MADV_FREE empties the PMD for a moment, as from 4.5 to 4.10: MADV_DONTNEED finds nothing, and is lost.",
    kernel="v4.5",
    loses=True,
    sees=((0, "PMD cleared"), (1, "read the PMD: empty")),
)

_FORCE = Pair(
    "forced-write-and-dontneed",
    "A forced write (FOLL_FORCE) makes a copy that stays read-only. When that is gone before it is looked up again, "
    "the write begins anew: only a dirty entry tells that a copy was made.",
    "docs/KERNEL.md 6.16",
    "mmap A prot=r; read A 0",
    ("write A 0 value=0x66 force=yes", "madvise A 0 1thp dontneed"),
    loses=False,
    kernel="v5.10",
    geometry=TINY,
)
_READING_FORCE = replace(
    _FORCE,
    name="forced-write-asks-to-read",
    about="Once the copy is made, the page is looked up as if only to be read, as until 4.8 (CVE-2016-5195): after a "
    "MADV_DONTNEED that is the huge zero page, and the byte goes into everybody's zeroes.",
    kernel="v4.5",
    loses=True,
    sees=((1, "PMD cleared"), (0, "0x66 written to pfn 0x2")),
)

ORDERS = (
    _LATE_WRITE,
    _WRITE,
    _LATE_DMA_PIN,
    _DMA_PIN,
    _LATE_REMAP,
    _REMAP,
    _UNSEEN_FORK,
    _FORK,
    _EARLY_WALK,
    _WALK,
    _LATE_MREMAP,
    _MREMAP,
    _TORN_MAPCOUNT,
    _MAPCOUNT,
    _EMPTY_FREE,
    _FREE,
    _READING_FORCE,
    _FORCE,
)
