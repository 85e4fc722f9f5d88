"""What the recorder of tests/truth/recorder says of a guest between two operations, which is made up here."""

from __future__ import annotations

from recorder_guest import ALL, ANSWER, DIRTY, PMD, PRESENT, PSE, PTE, REGION, THP, USER, Guest, bits, mapped
from truth.recorder.memory import HUGE
from truth.recorder.sight import Sight


def test_a_huge_page_is_recorded_with_its_counters_as_they_are_stored() -> None:
    guest, _ = mapped()
    sight = Sight(guest.view())
    assert sight.look(ANSWER) == {
        "A": {"R": {
            "vmas": 1, "rss": 2048, "anonhuge": 2048, "pmd": ["huge"], "deposited": 1,
            "runs": [[0, 512, "present", "F0", 0, "pmd", "wdy"]],
        }},
    }  # fmt: skip
    assert sight.frame(THP, [1] * HUGE) == {
        "head": 1, "flags": "xalb", "order": 9, "ref": 1, "large_mapcount_raw": 0, "entire_mapcount_raw": 0,
        "nr_pages_mapped_raw": 0x800000, "pincount": 0, "has_hwpoisoned": 0, "large_rmappable": 1,
        "deferred": 0, "maybe_shared": 0, "queue_len": 0,
        "sub": [[0, 1, "head", 1, -1, "xalb"], [1, 511, "tail", 0, -1, ""]], "kpc": [[0, 512, 1]],
    }  # fmt: skip


def test_a_huge_page_that_may_not_be_touched_keeps_its_place() -> None:
    guest, _ = mapped()
    guest.u64(PMD, ~(THP << 12) & 0xFFFFFFFFFF000 | PSE | 1 << 8 | DIRTY)
    assert Sight(guest.view()).look(ANSWER)["A"]["R"]["runs"] == [[0, 512, "present", "F0", 0, "pmd", "nd"]]


def test_after_a_split_pages_keep_their_places_until_they_are_freed() -> None:
    guest, _ = mapped()
    sight = Sight(guest.view())
    sight.look(ANSWER)
    guest.u64(PMD, PTE | ALL)
    for i in range(HUGE):
        guest.page(
            THP + i,
            flags=bits("lru", "swapbacked"),
            compound_head=0,
            mapping=1,
            index=(REGION >> 12) + i,
            _mapcount=0,
            _refcount=1,
        )
        guest.u64(PTE + i * 8, (THP + i) << 12 | PRESENT | USER)
    guest.page(THP + 8, _refcount=0, _mapcount=-1)  # freed
    guest.u64(PTE + 8 * 8, 3 << 12 | PRESENT)  # the zero page is there instead
    guest.page(THP + 9, index=1)  # freed and used by somebody else
    guest.u64(PTE + 9 * 8, 27 << 59 | PRESENT << 9)  # poisoned
    seen = sight.look(ANSWER)["A"]["R"]
    assert seen["pmd"] == ["table"] and seen["runs"] == [
        [0, 8, "present", "F0", 0, "pte", ""],
        [8, 1, "zero", None, None, "pte", ""],
        [9, 1, "hwpoison", None, None, "pte", ""],
        [10, 502, "present", "F0", 10, "pte", ""],
    ]
    frame = sight.frame(THP, [1] * HUGE)
    assert not isinstance(frame, str) and frame["head"] == 0
    small = ["small", 1, 0, "alb"]
    assert frame["sub"] == [[0, 8, *small], [8, 2, "gone", 0, -1, ""], [10, 502, *small]]
    assert frame["kpc"] == [[0, 8, 1], [8, 2, 0], [10, 502, 1]]


def test_a_frame_of_which_nothing_is_left_is_gone() -> None:
    guest, _ = mapped()
    sight = Sight(guest.view())
    sight.look(ANSWER)
    guest.u64(PMD, 0)
    for i in range(HUGE):
        guest.page(THP + i, flags=0, compound_head=0, _mapcount=-1, _refcount=0)
    assert sight.look(ANSWER)["A"]["R"]["runs"] == []
    assert sight.frame(THP, [0] * HUGE) == "gone"


def test_a_small_page_is_recorded_with_its_counters() -> None:
    guest = Guest()
    guest.u64(PMD, PTE | ALL)
    guest.u64(PTE, 0x900 << 12 | ALL)
    guest.page(0x900, flags=bits("lru", "dirty", "swapbacked", "anon_exclusive"), mapping=1, _mapcount=0, _refcount=1)
    assert Sight(guest.view()).look(ANSWER)["A"]["R"]["runs"] == [
        [0, 1, "present", "s:small ref=1 mc=0 xaldb", None, "pte", "wdy"]
    ]
