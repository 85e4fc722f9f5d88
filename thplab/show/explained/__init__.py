"""Explaining what a real kernel shows, in words and with a picture."""

from __future__ import annotations

from dataclasses import dataclass

from thplab.show.diagrams.roles import stylesheet
from thplab.show.explained.text import body, explained_html, explained_text
from thplab.study.explain import DEFAULT_KERNEL, Explained, Given, explain_texts

__all__ = ["Explanations", "explain", "explained_html", "explained_text"]


@dataclass(frozen=True, repr=False)
class Explanations:
    """What is consistent with some texts; a notebook shows it in words and as a picture of the nearest state.

    `told` holds it as data: for each thing that was given what is certain, what cannot be, and what fits.
    """

    told: Explained

    def __repr__(self) -> str:
        return explained_text(self.told, picture=False)

    def _repr_html_(self) -> str:
        return f"<style>{stylesheet()}</style>{body(self.told)}"


def explain(*texts: str, kernel: str = DEFAULT_KERNEL, at: str = "") -> Explanations:
    """What states of page tables and counters are consistent with what a real kernel has shown, on a named kernel.

    Each text is an entry of /proc/PID/smaps, or all of it; /proc/vmstat; or a dump by `thplab explain --dump`. Two of a
    kind are before and after. With `at`, an address, only that entry is explained. What cannot be is told, not raised:
    BadInput is for texts that cannot be read, and for an unknown kernel or address.
    """
    given = [Given(text, f"text {number}") for number, text in enumerate(texts, 1)]
    return Explanations(explain_texts(given, kernel, at))
