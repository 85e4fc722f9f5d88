"""What recordings must look like: records (tests/truth/README.md) and recorded steps (tests/truth/steps/README.md)."""

from __future__ import annotations

from thplab.foreign import (
    NULL,
    AnyShape,
    EitherShape,
    ExactShape,
    IntShape,
    ListShape,
    ObjectShape,
    RowShape,
    TextShape,
)
from thplab.hardware.geometry import X86_64

_COUNT = IntShape()
_TEXT = TextShape(200)
_RELEASE = TextShape(100, r"\d{1,3}\.\d{1,3}.*", "a release such as 4.5.0")
_MAYBE_TEXT = EitherShape((_TEXT, NULL))
_MAYBE_COUNT = EitherShape((_COUNT, NULL))
_COUNTS = ObjectShape(others=_COUNT)
_PAGE, _PAGES = IntShape(0, 10**7), IntShape(1, 10**7)
_IN_FRAME, _OF_FRAME = IntShape(0, X86_64.nr - 1), IntShape(1, X86_64.nr)
_OPS = ListShape(ObjectShape({"op": _TEXT}, others=AnyShape(), most=50), 10_000)

_RUN = EitherShape(
    (
        RowShape((_PAGE, _PAGES, _TEXT, _MAYBE_TEXT, _MAYBE_COUNT, _TEXT, _TEXT)),
        RowShape((_PAGE, _PAGES, _TEXT, _MAYBE_TEXT, _MAYBE_COUNT, _MAYBE_COUNT, _MAYBE_TEXT, _TEXT, _COUNT)),
    )
)
_FIGURE = EitherShape((_COUNT, _TEXT, ListShape(_TEXT)))
_REGION = ObjectShape({"runs": ListShape(_RUN)}, others=_FIGURE)
_SUB = RowShape((_IN_FRAME, _OF_FRAME, _TEXT, _COUNT, _COUNT, _TEXT, _COUNT), optional=1)
_COMPOUND = ObjectShape(
    {"head": _COUNT, "sub": ListShape(_SUB, X86_64.nr)},
    {"kpc": ListShape(RowShape((_IN_FRAME, _OF_FRAME, _COUNT)), X86_64.nr)},
    others=EitherShape((_COUNT, _TEXT)),
)
_SEEN_FRAME = ListShape(RowShape((_IN_FRAME, _OF_FRAME, _TEXT, _COUNT)), X86_64.nr)
_FRAME = EitherShape((ExactShape(("gone",)), _SEEN_FRAME, _COMPOUND))
_LOOK = ObjectShape(
    {
        "at": IntShape(0, 4),
        "head": RowShape((_TEXT, _COUNT, _COUNT)),
        "tails": ListShape(RowShape((_IN_FRAME, _OF_FRAME, _TEXT, _COUNT, _COUNT)), X86_64.nr),
        "pmd": ListShape(RowShape((_TEXT, _TEXT))),
    },
    others=AnyShape(),
)
_AFTER = ObjectShape(
    {
        "ret": EitherShape((_COUNT, _TEXT, ObjectShape(others=AnyShape()))),
        "ev": _COUNTS,
        "proc": ObjectShape(others=ObjectShape(others=_REGION)),
        "frames": ObjectShape(others=_FRAME),
    },
    {
        "contents": ObjectShape(others=ListShape(IntShape(0, 255), 100_000)),
        "sz": _COUNTS,
        "hugezero": _COMPOUND,
        "trace": ListShape(_LOOK, 10_000),
    },
    others=AnyShape(),
)
RECORD = ObjectShape(
    {
        "kernel": _RELEASE,
        "ops": _OPS,
        "after": ListShape(_AFTER, 10_000),
        "noisy_ops": ListShape(IntShape(0, 10_000), 1000),
    },
    {
        "name": _TEXT,
        "about": TextShape(2000),
        "env": _TEXT,
        "reps": _COUNT,
        "unseen": ListShape(_TEXT, 10_000),
        "run0": ObjectShape(others=_AFTER),
    },
    others=AnyShape(),
)
"""A record of a truth file."""

_VALUE = EitherShape((_COUNT, _TEXT))
_TIMES = IntShape(1, 100_000)
_STEP = RowShape((_TEXT, _TEXT, _TEXT, _VALUE, _VALUE, _TIMES))
_LOOP = RowShape((ExactShape(("loop",)), _TIMES, ListShape(_STEP, 10_000)))
RECORDING = ObjectShape(
    {
        "kernel": _RELEASE,
        "name": _TEXT,
        "setup": _OPS,
        "op": ObjectShape({"op": _TEXT}, others=AnyShape(), most=50),
        "rets": ListShape(EitherShape((_COUNT, _TEXT, ObjectShape(others=AnyShape()))), 10_000),
        "steps": ListShape(EitherShape((_LOOP, _STEP)), 100_000),
    },
    {"frames": ListShape(_TEXT, 10_000)},
    others=AnyShape(),
)
"""A recorded operation, step by step."""
