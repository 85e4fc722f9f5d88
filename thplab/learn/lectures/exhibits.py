"""The kinds of exhibits: what a slide can show, each a screenful.

Each is data, says how it is carried out, and whether it does what the lecture says of it.
"""

from thplab.learn.lectures.tables import (
    Comparison,
    Counted,
    Holds,
    Live,
    Outcome,
    Outcomes,
    RacePlay,
    Row,
    Schedule,
)
from thplab.learn.lectures.walks import (
    AskClass,
    Exhibit,
    Questions,
    Sentence,
    Stop,
    Table,
    Tabular,
    Walk,
    place,
    reading_of,
)

__all__ = [
    "AskClass",
    "Comparison",
    "Counted",
    "Exhibit",
    "Holds",
    "Live",
    "Outcome",
    "Outcomes",
    "Questions",
    "RacePlay",
    "Row",
    "Schedule",
    "Sentence",
    "Stop",
    "Table",
    "Tabular",
    "Walk",
    "place",
    "reading_of",
]
