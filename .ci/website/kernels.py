"""Which kernel does what: a table of all policies with their evidence, and a page for each kernel."""

from __future__ import annotations

import html
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from thplab.foreign import AnyShape, read_lines
from thplab.kernel.evidence import Evidence, Recorded
from thplab.kernel.kernels import KERNELS
from thplab.kernel.names import ORDER, SINCE
from thplab.kernel.policies import GROUPS, Kernel
from thplab.scenario import Scenario
from thplab.show.describe.kernel_text import PolicyRow, policy_rows
from thplab.study.verify.recorded import recordings
from website.frame import own_page

_LONG = 28
"""Characters of a value that a cell of the table shows."""
_MARK = 4
"""Letters by which the kinds of evidence can be told apart."""
_CHAPTER = "<h1>Which kernel does what</h1>"


def pages(root: Path) -> dict[str, str]:
    """Page -> HTML: the table, and the kernels."""
    files = {name: list(recorded_files(root, name)) for name in ORDER}
    made = {f"kernels/{name}.html": _kernel_page(KERNELS[name], files[name]) for name in ORDER}
    return made | {"kernels/index.html": own_page("kernels/index.html", "Which kernel does what", _table(files), "kernels")}


class RecordedFile:
    """A recording of one kernel: what each of its scenarios is called, what it is about, and its operations."""

    def __init__(self, path: str, release: str, scenarios: list[tuple[str, str, str]]) -> None:
        self.path, self.release, self.scenarios = path, release, scenarios


def place(recorded: Recorded) -> str:
    """Where the page of a kernel shows a recording."""
    folder, _, file = recorded.file.rpartition("/")
    version = file.removesuffix(".jsonl").partition("-")[2]
    return f"v{version}.html#{'-'.join(filter(None, ('recorded', folder, recorded.scenario)))}"


def recorded_files(root: Path, kernel: str) -> Iterator[RecordedFile]:
    """The recordings of a kernel in the repository at `root`, those between operations first."""
    version = kernel.removeprefix("v")
    for folder in ("tests/truth", "tests/truth/fresh", "thplab/study/live/recorded"):
        path = root / folder / f"linux-{version}.jsonl"
        if path.is_file():
            records = [record for _, record in read_lines(path, AnyShape(), "a truth file")]
            told = [(str(each["name"]), str(each.get("about", "")), Scenario.from_record(each).line()) for each in records]
            yield RecordedFile(f"{folder}/{path.name}", records[0]["kernel"], told)
    inside = list(recordings(kernel).values())
    if inside:
        told = [(each.name, each.label, "; ".join(map(str, (*each.setup, each.op)))) for each in inside]
        yield RecordedFile(f"tests/truth/steps/steps-{version}.jsonl", inside[0].release, told)


# --- the table --------------------------------------------------------------------------------------------------------


def _table(files: dict[str, list[RecordedFile]]) -> str:
    rows = {name: policy_rows(KERNELS[name]) for name in ORDER}
    by_policy = list(zip(*(rows[name] for name in ORDER), strict=True))
    head = "".join(f'<th scope="col"><a href="{name}.html">{name}</a></th>' for name in ORDER)
    body = []
    for group, each_of in groupby(by_policy, key=lambda each: each[0].name.partition(".")[0]):
        about = html.escape(" ".join((GROUPS[group].__doc__ or "").split()))
        body.append(f'<tbody><tr><th scope="rowgroup" colspan="{len(ORDER) + 1}"><b>{group}</b> {about}</th></tr>')
        body += [_policy_row(each) for each in each_of]
        body.append("</tbody>")
    kinds = "".join(f'<li><b class="ev ev-{kind.lower()}">{kind[:_MARK].lower()}</b> {kind.lower()}: {about}</li>' for kind, about in _legend())
    recorded = sum(len(file.scenarios) for each in files.values() for file in each)
    return f"""{_CHAPTER}
<p>{len(by_policy)} policies in which the {len(ORDER)} simulated kernels differ. The simulator's routines ask these policies, and never a kernel's
name. Each value has its evidence: {recorded:,} recorded scenarios of real kernels are on the kernels' pages. A value in grey is as in the
column before; a dash has no answer. Choose a value to see why it is believed. The small letters say what kind of evidence there is:</p>
<ul class="legend">{kinds}</ul>
<div class="site-wide" tabindex="0" role="group"><table class="policies"><thead><tr><th scope="col">policy</th>{head}</tr></thead>
{"".join(body)}</table></div>"""


def _policy_row(row: tuple[PolicyRow, ...]) -> str:
    first = row[0]
    cells, before = [], ""
    for name, each in zip(ORDER, row, strict=True):
        evidence = KERNELS[name].evidence(each.name).evidence
        kinds = {type(one).__name__.lower() for one in evidence}
        kind = "recorded" if "recorded" in kinds else type(evidence[0]).__name__.lower()
        same = " same" if each.value == before else ""
        long = f"{each.value.count(',') + 1} names" if "," in each.value else each.value
        shown = {"no answer": "–"}.get(each.value, long if len(each.value) > _LONG else each.value)
        why = html.escape("; ".join(each.why))
        cells.append(
            f'<td class="ev-{kind}{same}"><a href="{name}.html#{each.name}" title="{why}" data-ev="{kind[:_MARK]}">'
            f"{html.escape(shown)}</a></td>"
        )
        before = each.value
    return (
        f'<tr id="{first.name}"><th scope="row"><code>{first.name}</code> <small>{html.escape(first.meaning)}</small></th>'
        f"{''.join(cells)}</tr>\n"
    )


def _legend() -> Iterator[tuple[str, str]]:
    seen = {type(one) for name in ORDER for belief in KERNELS[name].beliefs.values() for one in belief.evidence}
    for kind in sorted(seen, key=lambda each: each.__name__):
        about = (kind.__doc__ or "").partition(":\n")[0] if kind is Recorded else (kind.__doc__ or "")
        yield kind.__name__, html.escape(" ".join(about.split()).rstrip(".:") + ".")


# --- the page of a kernel ---------------------------------------------------------------------------------------------


def _kernel_page(kernel: Kernel, files: list[RecordedFile]) -> str:
    at = ORDER.index(kernel.name)
    around = (("before", ORDER[at - 1] if at else ""), ("after", ORDER[at + 1] if at + 1 < len(ORDER) else ""))
    ways = " · ".join(f'the kernel {where}: <a href="{name}.html">{name}</a>' for where, name in around if name)
    counters = ", ".join(f"<code>{each.name}</code>" for each in kernel.head_counters)
    scheme = " ".join((type(kernel.scheme).__doc__ or "").replace("`", "").split())
    scenarios = sum(len(file.scenarios) for file in files)
    told = f"{scenarios:,} scenarios in {len(files)} files" if files else "none: it was never released"
    parts = [
        f"<h1>{kernel.name}</h1>",
        f'<p><a href="index.html">All kernels</a> · {ways}</p>',
        f"<dl><dt>Scheme</dt><dd><code>{kernel.scheme.name}</code>: {html.escape(scheme)}</dd>"
        f"<dt>References are counted in</dt><dd><code>{kernel.refcount_name}</code></dd>"
        f"<dt>A compound page has once</dt><dd>{counters or 'no counter of its own'}</dd>"
        f'<dt>Read in</dt><dd><span class="why">{html.escape(kernel.source)}</span></dd>'
        f'<dt>Recorded</dt><dd><a href="#recordings">{told}</a></dd></dl>',
        *_differences(kernel, KERNELS[ORDER[at - 1]] if at else None),
        "<h2 id='policies'>All policies</h2>",
        f"<p>In a terminal: <code>thplab kernels {kernel.name}</code>.</p>",
    ]
    for group, rows in groupby(policy_rows(kernel), key=lambda row: row.name.partition(".")[0]):
        about = html.escape(" ".join((GROUPS[group].__doc__ or "").split()))
        parts += [f'<h3 id="{group}">{group}</h3><p>{about}</p><dl class="policy" data-aside>']
        parts += [_policy(kernel, row) for row in rows]
        parts.append("</dl>")
    parts += ['<h2 id="recordings">Recordings</h2>', *map(_file, files)]
    if not files:
        parts.append("<p>There are none. Its rules are tested one by one against the letter and docs/KERNEL.md.</p>")
    return own_page(f"kernels/{kernel.name}.html", kernel.name, "\n".join(parts), "kernel")


def _differences(kernel: Kernel, before: Kernel | None) -> Iterator[str]:
    if before is None:
        return
    old, new = policy_rows(before), policy_rows(kernel)
    changed = [(was, now) for was, now in zip(old, new, strict=True) if was.value != now.value]
    yield f'<h2 id="differs">What differs from {before.name}</h2>'
    if type(before.scheme) is not type(kernel.scheme):
        yield f"<p>The scheme: <code>{before.scheme.name}</code> there, <code>{kernel.scheme.name}</code> here.</p>"
    renamed = [(before.names.of(name), kernel.names.of(name)) for name in SINCE]
    renamed = [(was, now) for was, now in renamed if was != now and " " not in was + now]
    rows = "".join(
        f'<tr><th scope="row"><a href="#{now.name}"><code>{now.name}</code></a> <small>{html.escape(now.meaning)}</small></th>'
        f"<td>{_changed(was.value, now.value)}</td><td>{_changed(now.value, was.value)}</td></tr>"
        for was, now in changed
    )
    yield (
        f"<p>{len(changed)} policies.</p>"
        f'<div class="site-wide" tabindex="0" role="group" data-aside><table><thead><tr><th scope="col">policy</th>'
        f'<th scope="col">{before.name}</th><th scope="col">{kernel.name}</th></tr></thead><tbody>{rows}</tbody></table></div>'
    )
    if renamed:
        names = "".join(f"<li><code>{html.escape(was)}</code> → <code>{html.escape(now)}</code></li>" for was, now in renamed)
        yield f"<details data-aside><summary>{len(renamed)} functions and fields have another name</summary><ul>{names}</ul></details>"


def _changed(value: str, other: str) -> str:
    """A value; of long lists only what the other kernel has not."""
    if len(value) <= _LONG or "," not in value:
        return html.escape(value)
    more = [each for each in value.split(", ") if each not in other.split(", ")]
    return html.escape(", ".join(more)) + " besides" if more else "as the other, without"


def _policy(kernel: Kernel, row: PolicyRow) -> str:
    whose = "" if row.kernel == kernel.name else f"as {row.kernel}: "
    why = "".join(f"<li>{whose}{_evidence(each)}</li>" for each in kernel.evidence(row.name).evidence)
    return (
        f'<dt id="{row.name}"><a href="index.html#{row.name}"><code>{row.name}</code></a> <b>{html.escape(row.value)}</b></dt>'
        f"<dd>{html.escape(row.meaning)}<ul>{why}</ul></dd>"
    )


def _evidence(evidence: Evidence) -> str:
    kind = type(evidence).__name__
    mark = f'<b class="ev ev-{kind.lower()}">{kind}</b> '
    if isinstance(evidence, Recorded):
        return f'{mark}<a href="{place(evidence)}">{evidence.scenario}</a> in {evidence.path}'
    return f'{mark}<span class="why">{html.escape(evidence.what)}</span>'


def _file(file: RecordedFile) -> str:
    folder = file.path.split("/")[-2]
    prefix = "-".join(filter(None, ("recorded", {"truth": "", "recorded": "live"}.get(folder, folder))))
    rows = "".join(
        f'<tr id="{prefix}-{name}"><th scope="row"><code>{name}</code></th><td>{html.escape(about)}</td>'
        f"<td><code>{html.escape(line)}</code></td></tr>\n"
        for name, about, line in file.scenarios
    )
    command = f"thplab verify {'--steps ' if folder == 'steps' else ''}{file.path}"
    return (
        f"<h3>{file.path}</h3><p>{len(file.scenarios)} scenarios of {html.escape(file.release)}. "
        f"<code>{command}</code> holds the simulator against them.</p>"
        f'<details data-aside><summary>The scenarios</summary><div class="site-wide" tabindex="0" role="group"><table>'
        f"<thead><tr><th>name</th><th>about</th><th>operations</th></tr></thead><tbody>{rows}</tbody></table></div></details>"
    )
