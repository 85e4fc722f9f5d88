"""What the bytes of a struct page mean, by the role that the page plays: from the kernel's BTF, so that a new kernel
needs no table.

To see a field more, add its name to one of the lists below; where it lies is looked up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from truth.recorder.btf import Btf, Member
from truth.recorder.memory import STRUCT_PAGE

PLAIN = ("flags", "mapping", "index", "private", "_mapcount", "_refcount")
"""In every page that is no tail (mapping and index of a tail are set when it becomes a page of its own)."""
OLD_FIRST_TAIL = ("compound_dtor", "compound_order", "compound_mapcount", "compound_pincount", "compound_nr")
FIRST_TAIL = (
    "_large_mapcount", "_entire_mapcount", "_nr_pages_mapped", "_pincount", "_folio_nr_pages", "_nr_pages", "_mm_id_mapcount", "_mm_id",
)  # fmt: skip
"""In page 1 of a huge page: in struct page as long as it had them, later in struct folio."""
OLD_SECOND_TAIL = ("hpage_pinned_refcount", "deferred_list")
SECOND_TAIL = ("_deferred_list",)
"""In page 2."""
TABLE = ("flags", "pmd_huge_pte", "mapping", "ptl", "page_type", "_refcount")
"""In the page of a page table."""

PAGE_TYPE_OFFSET = 48
_LIST_HEAD = 16

_FIRST_TAIL_FLAGS = ("double_map", "has_hwpoisoned", "large_rmappable", "partially_mapped")
"""Flags of page 1 that share a bit with flags of other pages."""


class Flags:
    """The bits of page->flags and their names, without `PG_`."""

    def __init__(self, names: Iterable[tuple[str, int]]) -> None:
        self.bits: dict[str, int] = {}
        self._names: dict[int, list[str]] = {}
        for name, bit in names:
            if name.startswith("PG_"):
                self.bits[name[3:]] = bit
                self._names.setdefault(bit, []).append(name[3:])

    def changes(self, old: int, new: int, first_tail: bool) -> str:
        """What changed, as `+dirty -locked`; empty if no flag did (zone, node and generation lie in the same word)."""
        differ = old ^ new
        signs = ((bit, "+" if new >> bit & 1 else "-") for bit in sorted(self._names) if differ >> bit & 1)
        return " ".join(sign + self._name(bit, first_tail) for bit, sign in signs)

    def _name(self, bit: int, first_tail: bool) -> str:
        names = self._names[bit]
        picked = ("anon_exclusive", *(_FIRST_TAIL_FLAGS if first_tail else ()))
        return next((name for name in names if name in picked), names[0])


class Layout:
    """Role -> the fields of a struct page in it, by offset. Roles are head, tail, first tail, second tail and table."""

    def __init__(self, btf: Btf) -> None:
        """Raises ValueError if a struct page of this kernel is not 64 bytes long."""
        if btf.size("page") != STRUCT_PAGE:
            raise ValueError(f"struct page has {btf.size('page')} bytes, not {STRUCT_PAGE}")
        page = btf.members("page")
        folio = btf.members("folio") if btf.has("folio") else {}
        table = page | (btf.members("ptdesc") if btf.has("ptdesc") else {})
        self.flags = Flags(btf.enum("pageflags"))
        plain = _pick(page | _page_of(folio, 0), PLAIN)
        link = _pick(page, ("flags", "compound_head"))
        old = "compound_mapcount" in page
        first = _pick(page, OLD_FIRST_TAIL) if old else _pick(_page_of(folio, 1), FIRST_TAIL)
        second = _pick(page, OLD_SECOND_TAIL) if old else _pick(_page_of(folio, 2), SECOND_TAIL)
        self.roles: dict[str, tuple[Member, ...]] = {
            "head": _sorted(plain),
            "tail": _sorted(plain + link[1:]),
            "first tail": _sorted(first + link + _beside(plain, first)),
            "second tail": _sorted(second + link + [field for field in plain if field.offset >= 40]),
            "table": _sorted(_pick(table, TABLE)),
        }

    def field(self, role: str, name: str) -> Member | None:
        """The field called `name` in pages of that role; None if this kernel has none."""
        return next((field for field in self.roles[role] if field.name == name), None)


def _page_of(folio: Mapping[str, Member], number: int) -> dict[str, Member]:
    """The members of struct folio that lie in its page `number`, with their offsets there."""
    start = number * STRUCT_PAGE
    return {
        name: each._replace(offset=each.offset - start)
        for name, each in folio.items()
        if 0 <= each.offset - start < STRUCT_PAGE
    }


def _pick(members: Mapping[str, Member], names: Iterable[str]) -> list[Member]:
    """The members that are there, in parts: an array as its elements, a list head as .next and .prev."""
    picked: list[Member] = []
    for name in names:
        if name in members:
            _, offset, size, elements = members[name]
            parts = [f"{name}[{i}]" for i in range(elements)] if elements > 1 else [name]
            if elements == 1 and size == _LIST_HEAD:
                parts = [f"{name}.next", f"{name}.prev"]
            size //= len(parts)
            picked += [Member(part, offset + i * size, size) for i, part in enumerate(parts)]
    return picked


def _beside(fields: Iterable[Member], others: Iterable[Member]) -> list[Member]:
    """The fields, without flags, that begin in none of the others."""
    taken = {at for other in others for at in range(other.offset, other.offset + other.size)}
    return [field for field in fields if field.offset not in taken and field.name != "flags"]


def _sorted(fields: Iterable[Member]) -> tuple[Member, ...]:
    return tuple(sorted(fields, key=lambda field: field.offset))
