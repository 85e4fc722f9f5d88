"""What the colours of a picture mean, in one place: colour-blind safe, for light and for dark.

A picture is drawn with the light colours. Each role has a light colour of its own, so a stylesheet can find what was
drawn in it and hand the choice to a CSS variable: `--thp-changed` and so on. Without any CSS the light colours stay.
"""

from __future__ import annotations

from typing import NamedTuple


class Role(NamedTuple):
    """One meaning: its colour on light and on dark ground, as #rrggbb. No two roles share a light colour."""

    light: str
    dark: str


ROLES = {
    "paper": Role("#ffffff", "#14171c"),  # behind everything, so that a picture is legible wherever it is put
    "ink": Role("#1b1f24", "#e8eaed"),
    "muted": Role("#5c636d", "#b4bbc5"),  # what is there but does not matter now: empty entries, units
    "line": Role("#d9dde2", "#3a414b"),  # between rows
    # Lines and headers of processes: Okabe-Ito hues, darker on light ground and lighter on dark, for 4.5:1.
    "process-0": Role("#0072b2", "#56b4e9"),
    "process-1": Role("#b34a00", "#e69f00"),
    "process-2": Role("#00775a", "#1fb38a"),
    "process-3": Role("#9c4275", "#d996bb"),
    "on-process": Role("#fffffe", "#0b0e12"),
    "page": Role("#333d4d", "#4a5669"),  # header of a compound page
    "on-page": Role("#fffffd", "#f5f7fa"),
    "page-row": Role("#f1f3f6", "#232931"),
    "split": Role("#d4dae3", "#39424f"),  # header of what was a compound page
    "changed": Role("#fff0a8", "#4f4000"),  # the last step did this
    "pointed": Role("#cfe8fb", "#12405e"),  # somebody asks to look here
    "pin": Role("#b00020", "#ff9c9c"),
    "pin-ground": Role("#fdeceb", "#3a1719"),
    "in-hand": Role("#6b4fa0", "#bba6e6"),  # taken by a routine, in nobody's table yet
    "freed": Role("#666d77", "#959ea9"),
    "zero": Role("#e6e9ed", "#2c323a"),
}

CLEAR = "none"
"""A ground that lets through what is behind it."""

PROCESSES = 4
"""Colours for processes; a fifth process begins again with the first."""


def process_role(number: int) -> str:
    """The role of process `number`, counted from 0 in the order in which a picture shows them."""
    return f"process-{number % PROCESSES}"


def light(role: str) -> str:
    """The colour that a picture has for a role. Raises KeyError for an unknown one."""
    return role if role == CLEAR else ROLES[role].light


TEXT_ON_GROUND = (
    *((ink, ground) for ink in ("ink", "muted") for ground in ("paper", "page-row", "changed", "pointed")),
    ("ink", "split"),
    ("ink", "zero"),
    *((f"process-{n}", "paper") for n in range(PROCESSES)),
    *(("on-process", f"process-{n}") for n in range(PROCESSES)),
    ("on-page", "page"),
    ("pin", "pin-ground"),
    ("pin", "paper"),
    ("in-hand", "paper"),
    ("freed", "paper"),
    ("freed", "page-row"),
)
"""Every (text role, ground role) that the pictures use: each must reach 4.5:1 in light and in dark."""


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours #rrggbb, 1 to 21 (WCAG 2.2, 1.4.3)."""
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def stylesheet(roles: frozenset[str] = frozenset(ROLES)) -> str:
    """CSS that makes pictures follow their surroundings, restricted to these roles.

    Dark comes with JupyterLab's dark theme, with a class `thp-dark` on any element around the picture, and, for a
    picture that is a file of its own, with the reader's system. A page may set the variables to colours of its own.
    """
    chosen = {name: role for name, role in ROLES.items() if name in roles}
    dark = "".join(f"--thp-{name}:{role.dark};" for name, role in chosen.items())
    drawn = [(part, name, role.light) for name, role in chosen.items() for part in ("fill", "stroke")]
    rules = [f".thp [{part}='{colour}']{{{part}:var(--thp-{name},{colour})}}" for part, name, colour in drawn]
    themes = [
        f"[data-jp-theme-light='false'],.thp-dark{{{dark}}}",
        f"@media (prefers-color-scheme:dark){{svg.thp:root{{{dark}}}}}",
    ]
    return "\n".join(themes + rules)
