"""The guest kernel's data: processes, page tables, struct pages. It is read while the guest waits for the next
request."""

from __future__ import annotations

from typing import Any

from truth.recorder.btf import Btf
from truth.recorder.kernels import Kernel
from truth.recorder.layout import Layout
from truth.recorder.memory import DIRECT, HUGE, STRUCT_PAGE, VMEMMAP, Bytes, Level, Memory
from truth.recorder.symbols import Symbols
from truth.recorder.work import RecorderError

Regions = dict[str, dict[str, tuple[int, int]]]
"""Process -> region -> its address and its number of pages."""
_CURRENT = ("current_task", "pcpu_hot", "const_current_task")
"""The per-CPU variable that begins with `current`, by the names that it has had."""


class View:
    """What lies in the RAM of a guest whose kernel has come up."""

    def __init__(self, memory: Memory, kernel: Kernel, symbols: Symbols, btf: Btf) -> None:
        """Raises RecorderError if the kernel does not lie where it is looked for."""
        self.memory = memory
        self.kernel = kernel
        self.symbols = symbols
        self.btf = btf
        self.layout = Layout(btf)
        if memory.read(self._at("linux_banner"), 14) != b"Linux version ":
            raise RecorderError("the kernel is not where it is without kaslr")
        memory.kernel_top = self._at("init_top_pgt")
        self.zero = self._at("empty_zero_page") >> 12
        """The page frame of the zero page."""
        task = btf.members("task_struct")
        self._tasks, self._pid, self._mm = (task[name].offset for name in ("tasks", "pid", "mm"))
        self._pgd = btf.members("mm_struct")["pgd"].offset

    @property
    def huge_zero(self) -> int | None:
        """The first page frame of the huge zero page; None if there is none now."""
        pfn = self.memory.u64(self._at("huge_zero_pfn"))
        return pfn if pfn < self.memory.size >> 12 else None

    @property
    def current(self) -> int:
        """The physical address of the variable that says which task runs on the only CPU."""
        name = next(name for name in _CURRENT if name in self.symbols.variables)
        base = self.memory.u64(self._at("__per_cpu_offset"))
        return self.memory.physical(base + self.symbols.variables[name] & (1 << 64) - 1)

    def top_table(self, pid: int) -> int:
        """The physical address of a process's top table. Raises LookupError if there is no such process."""
        first = self.symbols.variables["init_task"] + self._tasks
        at = first
        while True:
            at = self._u64(at)
            task = at - self._tasks
            if self.memory.u32(self.memory.physical(task + self._pid)) == pid:
                mm = self._u64(task + self._mm)
                if not mm:
                    raise LookupError(f"process {pid} has no memory any more")
                return self.memory.physical(self._u64(mm + self._pgd))
            if at == first:
                raise LookupError(f"no process {pid}")

    def walks(self, pids: dict[str, int], regions: Regions) -> dict[tuple[str, str], list[list[Level]]]:
        """Process and region -> the way to each of its huge pages. Processes that have no memory any more are left
        out."""
        found: dict[tuple[str, str], list[list[Level]]] = {}
        for process, pid in sorted(pids.items()):
            try:
                top = self.top_table(pid)
            except LookupError:
                continue
            for region, (base, pages) in sorted(regions[process].items()):
                found[process, region] = [self.memory.walk(top, base + page * 4096) for page in range(0, pages, HUGE)]
        return found

    def block(self, pfn: int) -> Bytes:
        """The struct pages of the 512 page frames from `pfn` on."""
        return self.memory.struct_pages(pfn, HUGE)

    def page_field(self, pfn: int, role: str, name: str) -> int:
        """A field of the struct page of a page frame, without a sign. The kernel must have it."""
        field = self.layout.field(role, name)
        assert field is not None
        data = self.memory.struct_pages(pfn, 1)[0]
        return int.from_bytes(data[field.offset : field.offset + field.size].tobytes(), "little")

    def huge_page_of(self, pfn: int) -> int | None:
        """The first page frame of the huge page that a page frame is part of; None if it is part of none."""
        block = pfn & -HUGE
        if not self.page_field(block, "head", "flags") >> self.layout.flags.bits["head"] & 1:
            return None
        if pfn == block or self.page_field(pfn, "tail", "compound_head") == VMEMMAP + block * STRUCT_PAGE + 1:
            return block
        return None

    def deposited(self, table: int) -> list[int]:
        """The page frames of the page tables that are deposited under a table of PMDs, given by its page frame."""
        found: list[int] = []
        page = self.page_field(table, "table", "pmd_huge_pte")
        while VMEMMAP <= page < VMEMMAP + (self.memory.size >> 12) * STRUCT_PAGE:
            pfn = (page - VMEMMAP) // STRUCT_PAGE
            if pfn in found:
                break
            found.append(pfn)
            page = self._u64(page + 8) - 8  # they hang together by page->lru
        return found

    def queue_length(self, memcg: int) -> int:
        """How many huge pages wait to be split: in the queue of a cgroup (an address), or of the node where there is
        none."""
        owner, at = ("mem_cgroup", memcg) if memcg else ("pglist_data", self._u64(self.symbols.variables["node_data"]))
        queue = self.btf.members(owner)["deferred_split_queue"].offset
        return self._u64(at + queue + self.btf.members("deferred_split")["split_queue_len"].offset)

    def is_table(self, page_type: int) -> bool:
        """Does a struct page with this page_type belong to a page table?"""
        mask, value = self.kernel.table_type
        return page_type & mask == value

    def direct(self, address: int) -> int | None:
        """The page frame of an address in the kernel's map of all RAM; None for other addresses."""
        return (address - DIRECT) >> 12 if DIRECT <= address < DIRECT + self.memory.size else None

    def struct_page(self, address: int) -> tuple[int, int] | None:
        """The page frame whose struct page an address lies in, and the offset in it; None for other addresses."""
        number, offset = divmod(address - VMEMMAP, STRUCT_PAGE)
        return (number, offset) if 0 <= number < self.memory.size >> 12 else None

    def _at(self, variable: str) -> int:
        return self.memory.physical(self.symbols.variables[variable])

    def _u64(self, address: int) -> int:
        return self.memory.u64(self.memory.physical(address))


def plain_regions(answer: dict[str, Any]) -> Regions:
    """The regions in an answer of the guest."""
    found = answer["regions"].items()
    return {
        process: {name: (int(base), int(pages)) for name, (base, pages) in regions.items()}
        for process, regions in found
    }
