"""What a test says to a widget in the place of its page, and what the page would show."""

from __future__ import annotations

import base64
import gzip
import itertools
import json
from typing import Any

from thplab.learn.widgets.widget import Widget

_numbers = itertools.count(1)


def unpacked(packed: Widget | str) -> dict[str, Any]:
    """What a widget shows, or what a packed text holds."""
    text = packed.packed if isinstance(packed, Widget) else packed
    data: dict[str, Any] = json.loads(gzip.decompress(base64.b64decode(text)))
    return data


def ask(widget: Widget, what: str, **fields: Any) -> str:
    """What is said to a question of the page, which is answered at once."""
    number = next(_numbers)
    widget._asked(widget, {"number": number, "do": what, "with": fields}, [])
    assert widget.answer["to"] == number
    return widget.says
