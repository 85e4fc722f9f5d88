"""What drivers hold: the files that keep a pin, and how its pages are let go (put_user_pages in mm/gup.c)."""

from __future__ import annotations

from dataclasses import replace

from thplab.hardware.frames import GUP_PIN_COUNTING_BIAS, single
from thplab.hardware.steps import Routine, change, phrase, routine
from thplab.kernel.routines.mm import put_page
from thplab.kernel.system import System


def share_files(system: System, parent: str, child: str) -> None:
    """A fork gives the child all open files of the parent, so those that pins hang on, too."""
    for name, pin in system.pins.items():
        if parent in pin.files:
            system.pins[name] = replace(pin, files=pin.files | {child})


@routine
def exit_files(system: System, name: str) -> Routine[None]:
    """A process that exits closes its files: pins that nobody else has a file for are let go."""
    mine = tuple(pin for pin in system.pins.values() if name in pin.files)
    for pin in mine:
        if pin.files == {name}:
            yield from drop_pin(system, pin.name)
        else:
            system.pins[pin.name] = replace(pin, files=pin.files - {name})
            yield change(f"{name} closes the file of {pin.name!r}")


@phrase("the driver lets go")
def drop_pin(system: System, name: str) -> Routine[int]:
    """The driver lets go of the pages that it holds as `name`, which exists. Returns 0."""
    pin = system.pins.pop(name)
    yield from put_user_pages(system, pin.pages, pin.foll_pin)
    return 0


@phrase("give the pages back")
def put_user_pages(system: System, pages: tuple[int, ...], foll_pin: bool = False) -> Routine[None]:
    """Drop one reference, or FOLL_PIN pin, on each of `pages`."""
    frames = system.frames
    done = 0
    while done < len(pages):
        part = _neighbours(system, pages, done)
        if foll_pin and frames.is_compound(part.start):
            frames.pincount_add(frames.compound_head(part.start), part.start - part.stop)
            yield change(f"head _pincount -= {part.stop - part.start}")
        elif foll_pin:
            frames.ref_add(part, 1 - GUP_PIN_COUNTING_BIAS)  # the last one is dropped below
            yield change(f"{system.page_name(part.start)} {system.refcount_name} -= {GUP_PIN_COUNTING_BIAS - 1}")
        yield from put_page(system, part)
        done += part.stop - part.start


def _neighbours(system: System, pages: tuple[int, ...], first: int) -> slice:
    """The longest part from `pages[first]` on: consecutive pfns inside one compound page, or one small page."""
    page = pages[first]
    if not system.frames.is_compound(page):
        return single(page)
    end = system.frames.compound(system.frames.compound_head(page)).stop
    count = 1
    while first + count < len(pages) and pages[first + count] == page + count < end:
        count += 1
    return slice(page, page + count)


# --- mutants ----------------------------------------------------------------------------------------------------------


def forgets_the_pincount(system: System, pages: tuple[int, ...], foll_pin: bool = False) -> Routine[None]:
    """put_user_pages that drops the references of a FOLL_PIN pin, but not the pin itself."""
    yield from put_user_pages.right(system, pages, foll_pin and not system.frames.is_compound(pages[0]))
