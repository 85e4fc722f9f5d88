"""A state, and a whole trace, in words: pure functions that a screen reader, a terminal and a test can use."""

from thplab.describe.compare_text import side_by_side
from thplab.describe.footprint_text import footprint_table, reading
from thplab.describe.narrate import narrate
from thplab.describe.operation_text import sentence
from thplab.describe.race_text import columns, story, summary
from thplab.describe.state_text import describe
from thplab.describe.walk_text import walk, walk_text

__all__ = [
    "columns",
    "describe",
    "footprint_table",
    "narrate",
    "reading",
    "sentence",
    "side_by_side",
    "story",
    "summary",
    "walk",
    "walk_text",
]
