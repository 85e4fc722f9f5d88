"""The kinds of exhibits: what a slide can show, each a screenful.

Each is data, says how it is carried out, and whether it does what the lecture says of it.
"""

from thplab.learn.lectures.tables import (
    Attempt,
    Counted,
    FactRow,
    Holds,
    Live,
    Outcomes,
    RacePlay,
    Schedule,
    SideBySide,
)
from thplab.learn.lectures.walks import (
    AskClass,
    Exhibit,
    Questions,
    Sentence,
    StopPlace,
    TableTexts,
    Tabular,
    Walk,
    place,
    reading_of,
)

__all__ = [
    "AskClass",
    "Attempt",
    "Counted",
    "Exhibit",
    "FactRow",
    "Holds",
    "Live",
    "Outcomes",
    "Questions",
    "RacePlay",
    "Schedule",
    "Sentence",
    "SideBySide",
    "StopPlace",
    "TableTexts",
    "Tabular",
    "Walk",
    "place",
    "reading_of",
]
