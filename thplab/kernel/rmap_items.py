"""What KSM remembers between its scans (mm/ksm.c): who takes part, what it has seen, and which pages it has made."""

from __future__ import annotations

from typing import NamedTuple

Place = tuple[str, int]
"""A process by its name, and an address in it."""


class RmapItem(NamedTuple):
    """What KSM knows of one address.

    `checksum`: the contents at the last scan, None at first. `page`: the KSM page to which the address was merged, 0 if
    none; `anon_vma` is then the number of the anon_vma through which that page is found there.
    """

    checksum: int | None = None
    page: int = 0
    anon_vma: int = 0


class KsmState(NamedTuple):
    """`Ksm` as read-only data."""

    mms: tuple[str, ...] = ()
    items: tuple[tuple[Place, RmapItem], ...] = ()
    unstable: tuple[tuple[int, Place], ...] = ()
    stable: tuple[int, ...] = ()

    def thawed(self) -> Ksm:
        """The inverse of Ksm.frozen."""
        ksm = Ksm()
        ksm.mms = dict.fromkeys(self.mms)
        ksm.items = dict(self.items)
        ksm.unstable = dict(self.unstable)
        ksm.stable = dict.fromkeys(self.stable)
        return ksm


class Ksm:
    """The data of ksmd. Trees are dictionaries here: contents are numbers, so a search needs no order."""

    key = "ksm"

    def __init__(self) -> None:
        self.mms: dict[str, None] = {}
        """The processes that are scanned, in the order in which they came."""
        self.items: dict[Place, RmapItem] = {}
        self.unstable: dict[int, Place] = {}
        """Contents -> the address that was first seen to hold them unchanged in this scan;
        its page is not write-protected.
        """
        self.stable: dict[int, None] = {}
        """The pages that KSM has made, in order. One that was freed since has lost PG_ksm."""

    def sharing(self, page: int) -> tuple[Place, ...]:
        """The addresses that were merged to a KSM page."""
        return tuple(place for place, item in self.items.items() if item.page == page)

    def moved(self, page: int, new: int) -> None:
        """A KSM page was migrated to another frame."""
        self.items = {
            place: item._replace(page=new) if item.page == page else item for place, item in self.items.items()
        }
        self.stable = dict.fromkeys(new if p == page else p for p in self.stable)

    def forget(self, name: str) -> None:
        """A process is gone."""
        self.mms.pop(name, None)
        self.items = {place: item for place, item in self.items.items() if place[0] != name}
        self.unstable = {content: place for content, place in self.unstable.items() if place[0] != name}

    def frozen(self) -> KsmState:
        """A copy that does not change."""
        return KsmState(
            tuple(self.mms), tuple(sorted(self.items.items())), tuple(sorted(self.unstable.items())), tuple(self.stable)
        )
