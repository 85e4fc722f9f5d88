"""Lectures as data: slides, what they show, and what is said to them.

`lecture("two_splits")` is one of the project's own, `read(...)` takes one from TOML. Nothing here needs a widget until
a slide is shown.
"""

from thplab.learn.lectures.reading import LECTURES, lecture, read
from thplab.learn.lectures.slide import Card, Lecture, Notes, Slide

__all__ = ["LECTURES", "Card", "Lecture", "Notes", "Slide", "lecture", "read"]
