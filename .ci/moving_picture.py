"""Draws the moving picture of the README from the real stepper: PYTHONPATH=tests python .ci/moving_picture.py FILE.webp

Chromium opens the widget as an exported page has it, and steps through the story; Pillow joins what it shows.
"""

import io
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from labserver import open_alone, page
from PIL import Image

from thplab.learn.widgets import Stepper

STOPS = (
    "PMD = the huge page",
    "the child's PMD = the same huge page",
    "withdraw the deposited PTE table",
    "head _count += 7",
    "fill 8 PTEs",
    "each tail _mapcount += 1",
    "PMD = the PTE table",
    "PTE 4 with the new protection",
    "the driver holds 1 page",
    "references but our own: 11 - 1 = 10, not equal",
    "unlock anon_vma_lock 1; thp_split_page_failed += 1",
    "references but our own: 10 - 1 = 9, equal",
    "each tail _count = its mappings + 1",
    "the compound page is no more",
)
"""How the steps begin that are shown, in their order in the story."""
SHOWN, LAST = 2200, 4500
"""Milliseconds."""
LARGEST = 500_000


def pictures() -> Iterator[Image.Image]:
    """What the stepper shows at each stop: controls, picture and sentence."""
    with tempfile.TemporaryDirectory() as name, page(width=940, height=720, reduced_motion="reduce") as pg:
        open_alone(pg, Path(name), Stepper("story").html())
        stepper = pg.locator(".thp-stepper[data-step]")
        button, caption = stepper.get_by_role("button", name="Next step"), stepper.locator(".thp-caption")
        below = stepper.locator("summary").first.bounding_box()
        top = stepper.bounding_box()
        assert below and top
        clip = {"x": top["x"], "y": top["y"], "width": top["width"], "height": below["y"] - top["y"] - 1}
        for stop in STOPS:
            button.click()
            while not caption.inner_text().startswith(stop):
                assert button.get_attribute("aria-disabled") != "true", f"the story has no step {stop!r} there"
                button.click()
            pg.mouse.move(0, 0)
            button.evaluate("button => button.blur()")
            yield Image.open(io.BytesIO(pg.screenshot(clip=clip))).convert("RGB")


first, *rest = pictures()
out = io.BytesIO()
durations = [SHOWN] * len(rest) + [LAST]
moving = {"save_all": True, "append_images": rest, "duration": durations, "loop": 0}
first.save(out, "WEBP", lossless=True, quality=100, method=6, **moving)
if out.tell() > LARGEST:
    sys.exit(f"{out.tell():,} bytes are more than {LARGEST:,}")
Path(sys.argv[1]).write_bytes(out.getvalue())
print(f"{sys.argv[1]}: {len(rest) + 1} pictures of {first.width} by {first.height}, {out.tell():,} bytes")
