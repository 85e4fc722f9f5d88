"""A lecture as one HTML file: slides in reveal.js that step without Python, without Jupyter and without a network."""

from __future__ import annotations

import html
from importlib.resources import files
from pathlib import Path

from thplab.errors import BadInput
from thplab.files import write_file
from thplab.learn.lectures.slide import Lecture
from thplab.learn.widgets.page import once

_HEAD = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8"/>
<meta name="viewport" content="width=device-width, initial-scale=1"/>
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; base-uri 'none'; form-action 'none'; \
frame-src 'self' file:; font-src data:; img-src data: blob:; script-src 'unsafe-inline'; style-src 'unsafe-inline'"/>
<title>{title}</title>
<style>{reveal}</style>
<style>{own}</style>
</head>
<body data-jp-theme-light="true">
"""

# Letters of the title page as large as those of the slides; the places of a slide are reveal.js's fragments, which nobody sees.
_STYLE = """
html, body { height: 100%; margin: 0; overflow: hidden; }
body { color: var(--thp-ink); background: var(--thp-paper); font-family: system-ui, sans-serif; }
.reveal .slides { text-align: left; }
.reveal .slides > section { height: 100%; padding: 0; }
.reveal .slides > section > div { height: 100%; }
.reveal .thp-slide { height: 100%; border: 0; border-radius: 0; margin: 0; }
.reveal .thp-places { display: none; }
.reveal .thp-opening { display: flex; flex-direction: column; justify-content: center; gap: 1em; height: 100%; padding: 0 8%; box-sizing: border-box; font-size: max(20px, 2.8vh); line-height: 1.4; }
.reveal .thp-opening h1 { margin: 0; font-size: 2.4em; line-height: 1.15; }
.reveal .thp-opening :is(p, ul) { margin: 0; }
"""

_START = """
const theme = matchMedia("(prefers-color-scheme: dark)");
const setTheme = dark => { document.body.dataset.jpThemeLight = `${!dark}`; };
theme.addEventListener("change", () => setTheme(theme.matches));
setTheme(theme.matches);
Reveal.initialize({
  width: "100%", height: "100%", margin: 0, minScale: 1, maxScale: 1, center: false, transition: "none", display: "block",
  controls: false, progress: true, slideNumber: false, hash: true, overview: true, fragmentInURL: true, plugins: [RevealNotes],
  keyboard: { 84: () => setTheme(document.body.dataset.jpThemeLight === "true") },
  keyboardCondition: event => !event.target?.matches?.("input, textarea, select"),
});
const place = () => {
  const shown = Reveal.getCurrentSlide()?.querySelector(".thp-slide"), { f } = Reveal.getIndices();
  shown?.dispatchEvent(new CustomEvent("thp-place", { detail: (f ?? -1) + 1 }));
};
for (const event of ["ready", "slidechanged", "fragmentshown", "fragmenthidden"]) Reveal.on(event, place);
// A slide that has just been made shows the place that reveal.js is at, and its own buttons lead on as the keys do.
document.addEventListener("thp-slide-made", place);
document.addEventListener("thp-slide-move", event => (event.detail > 0 ? Reveal.next() : Reveal.prev()));
"""


def write_deck(lecture: Lecture, output: str | Path) -> Path:
    """Write a lecture as one HTML file and return where.

    Raises BadInput, having written nothing, if the folder is not there or something on a slide does not exist.
    """
    path = Path(output)
    if not path.parent.is_dir():
        raise BadInput("output", f"is {str(output)!r}", "a file in a folder that exists")
    write_file(path, deck(lecture))
    return path


def deck(lecture: Lecture) -> str:
    """The page of a lecture. Equal lectures give equal texts."""
    slides = [lecture.slide(slide.id) for slide in lecture.slides]
    sections = [_opening(lecture)]
    for slide in slides:
        places = '<span class="fragment"></span>' * (slide.places - 1)
        notes = f'<aside class="notes">{slide.notes_html()}</aside>'
        sections.append(f'<section>{slide.html()}<div class="thp-places">{places}</div>{notes}</section>')
    head = _HEAD.format(title=html.escape(lecture.title), reveal=_file("reveal.css"), own=_STYLE)
    scripts = "".join(f"<script>{_file(name)}</script>\n" for name in ("reveal.js", "notes.js"))
    body = f'<div class="reveal"><div class="slides">\n{once("".join(sections))}\n</div></div>\n'
    return f"{head}{body}{scripts}<script>{_START}</script>\n</body>\n</html>\n"


def _opening(lecture: Lecture) -> str:
    aims = "".join(f"<li>{html.escape(aim)}</li>" for aim in lecture.objectives)
    about = f"{lecture.minutes:g} minutes. {html.escape(lecture.audience)}"
    keys = "PageDown and PageUp: on and back. B: blank. S: notes. O: all slides. T: light or dark. A: answer."
    prepare = "".join(f"<p>Prepare: {html.escape(each)}</p>" for each in lecture.prepare)
    return (
        f'<section><div class="thp-opening"><h1>{html.escape(lecture.title)}</h1><ul>{aims}</ul></div>'
        f'<aside class="notes"><p>{about}</p>{prepare}<p>{keys}</p></aside></section>'
    )


def _file(name: str) -> str:
    text = files("thplab.learn.lectures").joinpath("reveal", name).read_text(encoding="utf-8")
    return text.replace("</script", "<\\/script") if name.endswith(".js") else text
