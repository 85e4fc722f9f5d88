"""Is what thplab explain says true? It is asked about recorded operations of real kernels.

    python benchmarks/explained.py [FILE.jsonl ...] [--every N]

For each recorded operation the figures of smaps, written as the file has them, and what rose in /proc/vmstat are
explained on the kernel that was recorded. The true state is what the recorder saw in page tables and struct pages; the
true operation is the one that it performed. Each line tells a question, in how many of its cases the truth was among
the answers, and how many answers there were. The simulator's examples answer, the recordings ask: neither has seen the
other.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from thplab.scenario import Operation
from thplab.study.explain import Given, explain_texts
from thplab.study.explain.contents import NR, Contents
from thplab.study.explain.counters import exactly, kind, kind_of, sums
from thplab.study.explain.explanation import Passage
from thplab.study.explain.fit import Explanation
from thplab.study.verify.columns import Column, PagePlace
from thplab.study.verify.records import FrameView, Labels, OperationView, kernel_name, read_records, recorded_view
from thplab.study.verify.shown import SMAPS

TRUTH = Path(__file__).parent.parent / "tests" / "truth"
FILES = [*sorted(TRUTH.glob("linux-*.jsonl")), *sorted((TRUTH / "fresh").glob("linux-*.jsonl"))]
COVERED = (
    *("write", "read", "fill", "fork", "exit", "mprotect", "munmap", "mlock", "munlock", "madvise", "pin", "unpin"),
    *("split", "khugepaged_scan", "sys"),
)
"""Operations of which there are examples; all others are left out."""
NOISE = ("thp_zero_page_alloc", "pswp")


class Case(NamedTuple):
    """One recorded operation."""

    kernel: str
    name: str
    op: Operation
    view: OperationView
    regions: Mapping[str, Contents]
    """Each region that holds one huge page's worth of addresses -> what was really in it."""
    events: Mapping[str, int]


@dataclass
class Share:
    """One question: how often it was asked, how often the truth was among the answers, and what failed."""

    asked: int = 0
    true: int = 0
    answers: Counter[int] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)

    def add(self, true: bool, answers: int, what: str) -> None:
        """Count a case in."""
        self.asked += 1
        self.true += true
        self.answers[answers] += 1
        if not true:
            self.failed.append(what)

    @property
    def share(self) -> float:
        """Of the cases, those in which the truth was among the answers."""
        return self.true / self.asked if self.asked else 0.0

    def __str__(self) -> str:
        mean = sum(n * times for n, times in self.answers.items()) / max(1, self.asked)
        return f"{self.true:6,} of {self.asked:6,} ({self.share:6.1%}), {mean:.1f} answers on average"


def cases(path: Path) -> Iterator[Case]:
    """All recorded operations of the covered kinds, in regions of one huge page."""
    for record in read_records(path):
        labels = Labels()
        pages: dict[str, int] = {}
        for number, (plain, after) in enumerate(zip(record["ops"], record["after"], strict=True)):
            op = Operation.from_json(plain)
            view = recorded_view(after, labels)
            _sizes(pages, op)
            if op.op not in COVERED or number in record["noisy_ops"] or not isinstance(after["ret"], int):
                continue
            held = {name: contents(view, name) for name in view.regions if pages.get(name.partition(".")[2]) == NR}
            events = {name: n for name, n in after["ev"].items() if not name.startswith((*NOISE, "nr_"))}
            yield Case(kernel_name(record["kernel"]), record["name"], op, view, held, events)


def _sizes(pages: dict[str, int], op: Operation) -> None:
    """A region has its size by its name, whoever has it; two sizes of one name are none."""
    if op.op == "mmap":
        name, count = str(op.fields["region"]), int(op.resolve(NR)["thps"]) * NR
        pages[name] = count if pages.get(name, count) == count else 0


def contents(view: OperationView, region: str) -> Contents:
    """What was really in a region: of it a huge page is what has a head."""
    counts = Counter[str]()
    for run in view.regions[region].pages.get("runs", Column()).runs:
        place = run.value
        assert isinstance(place, PagePlace)
        if place.state == "present":
            whole = place.frame in view.frames and _is_compound(view.frames[place.frame])
            counts["pmd" if place.how == "pmd" else "parts" if whole else "small"] += run.pages
        elif place.state in ("swap", "guard", "zero", "hugezero"):
            counts[place.state] += run.pages
        elif place.state == "hwpoison":
            counts["poison"] += run.pages
    return Contents(**counts)


def _is_compound(frame: FrameView | str) -> bool:
    if isinstance(frame, str):
        return False
    kinds = frame.pages.get("kind", Column()).runs
    return bool(frame.fields["head"]) if "head" in frame.fields else any(run.value == "head" for run in kinds)


def smaps_text(fields: Mapping[str, object]) -> str:
    """An entry of smaps with the recorded figures; one that was not recorded is 0."""
    figures = {name: fields.get(short, 0) for short, name in SMAPS.items()}
    figures["Anonymous"] = max(int(str(figures["Rss"])), int(str(figures["AnonHugePages"])))
    lines = [f"7f0000000000-7f00{NR * 4096:08x} rw-p 00000000 00:00 0", f"Size: {NR * 4} kB"]
    return "\n".join([*lines, *(f"{name}: {value} kB" for name, value in figures.items())]) + "\n"


def vmstat_texts(events: Mapping[str, int], names: Sequence[str]) -> tuple[str, str]:
    """/proc/vmstat before and after."""
    return ("".join(f"{name} 7\n" for name in names), "".join(f"{name} {7 + events.get(name, 0)}\n" for name in names))


def among(held: Contents, found: Sequence[Explanation]) -> bool:
    """Is the true state among the explanations that fit?"""
    for one in found:
        fit = one.best
        small = one.small_alone
        total = Contents(*(fit.times * count for count in one.contents))
        total = total._replace(pmd=total.pmd + NR * fit.huge)
        if small:
            total = Contents(small=small, pmd=NR * fit.huge)
        if one.exact and (total == held or (fit.pages and not small and _with_others(total, fit.pages, held))):
            return True
    return False


def _with_others(total: Contents, pages: int, held: Contents) -> bool:
    """Is it the same with so many pages more, of either kind?"""
    one, other = (each._replace(parts=0, small=0) for each in (total, held))
    return (
        one == other and held.by_pte == total.by_pte + pages and held.parts >= total.parts and held.small >= total.small
    )


def ask(every: Sequence[Case]) -> dict[str, Share]:
    """All questions about all cases."""
    shares: dict[str, Share] = defaultdict(Share)
    for case in every:
        what = f"{case.kernel} {case.name}: {case.op.label(NR)}"
        for name, held in case.regions.items():
            text = smaps_text(case.view.regions[name].fields)
            _entry(shares, case, held, text, f"{what}: {name} {held}")
        if case.events:
            _events(shares, case, what)
    return shares


def _entry(shares: dict[str, Share], case: Case, held: Contents, text: str, what: str) -> None:
    part = _explained(case, [text])
    shares["smaps: no contradiction is seen"].add(not part.wrong, 1, what)
    every = (*part.found, *part.rest)
    shares["smaps: the true state is among those that fit"].add(among(held, every), len(every), what)
    shares["smaps: ... among the six that are told"].add(among(held, part.found), len(part.found), what)
    shares["smaps: the simplest is the true state"].add(among(held, part.found[:1]), 1, what)


def _explained(case: Case, texts: Sequence[str]) -> Passage:
    return explain_texts([Given(text, "recorded") for text in texts], case.kernel).parts[0]


def _events(shares: dict[str, Share], case: Case, what: str) -> None:
    kinds = {kind(example.op) for example in exactly(case.kernel, case.events, (1,))}
    told = f"{what}: {dict(case.events)}"
    shares["vmstat: the operation is among those that raise just this"].add(kind_of(case.op) in kinds, len(kinds), told)
    made = [1] if kinds else sums(case.kernel, case.events, (1,))
    shares["vmstat: some operations raise just this"].add(bool(made), len(made), told)


def main() -> None:
    """Ask about the recordings, and print a line for each question; with --failed what failed as well."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", type=Path, default=FILES, help="truth files (default: all of them)")
    parser.add_argument(
        "--every", type=int, default=1, metavar="N", help="ask about each N-th operation (default: all)"
    )
    parser.add_argument("--failed", type=int, default=0, metavar="N", help="show so many cases that failed")
    options = parser.parse_args()
    totals: dict[str, Share] = defaultdict(Share)
    for path in options.files:
        print(f"{path.parent.name}/{path.name}")
        for question, share in ask(list(cases(path))[:: options.every]).items():
            print(f"  {question:58} {share}", *share.failed[: options.failed], sep="\n      ", flush=True)
            total = totals[question]
            total.asked, total.true = total.asked + share.asked, total.true + share.true
            total.answers.update(share.answers)
    print("all")
    for question, share in totals.items():
        print(f"  {question:58} {share}")


if __name__ == "__main__":
    sys.exit(main())
