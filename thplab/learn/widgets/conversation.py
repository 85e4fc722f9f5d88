"""The conversation between a widget's page and Python: the page asks, a method does it, and every question is answered.

A question is {"number": ..., "do": name, "with": {field: value}}. What is answered is the trait `answer`.
docs/payload.md shows both.
"""

from __future__ import annotations

import inspect
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import UnionType
from typing import Any, ClassVar, TypeVar, get_args, get_origin, get_type_hints

import anywidget
import traitlets

from thplab.errors import BadInput, ThplabError

Method = TypeVar("Method", bound=Callable[..., str | None])

LOG = logging.getLogger(__name__)


def asked(name: str) -> Callable[[Method], Method]:
    """Marks the method that does what the page asks for by this name.
    Its arguments are the fields of the question, of their types.

    It returns what is said, if anything. It raises BadInput for what makes no sense, and sets what is shown last:
    where it raises, nothing has changed.
    """

    def mark(method: Method) -> Method:
        method.__dict__["asked"] = name
        return method

    return mark


class Conversation(anywidget.AnyWidget):
    """A widget that answers what its page asks:
    by the method that asked() marks, or with what was wrong, but always.
    """

    asks: ClassVar[dict[str, Callable[..., str | None]]] = {}
    """What the page can ask for -> the method that does it."""

    answer = traitlets.Dict({"to": 0, "says": "", "error": False, "running": False}).tag(sync=True)
    """The last answer: `to` the question of that number (0: nobody asked), what is said, whether that is why something
    was not done (`error`), and whether something was begun that still goes on (`running`), whose end will be told as
    another answer."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        marked = [method for method in vars(cls).values() if "asked" in getattr(method, "__dict__", {})]
        inherited = {what: each for base in reversed(cls.__mro__) for what, each in vars(base).get("asks", {}).items()}
        cls.asks = inherited | {vars(method)["asked"]: method for method in marked}
        super().__init_subclass__(**kwargs)

    def __init__(self, **traits: Any) -> None:
        self._to = 0
        self._lock = threading.RLock()
        super().__init__(**traits)
        self.on_msg(self._asked)

    @property
    def says(self) -> str:
        """What was said last."""
        return str(self.answer["says"])

    @property
    def running(self) -> bool:
        """Whether something was begun that still goes on."""
        return bool(self.answer["running"])

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """What is set within reaches the page in one piece, and nothing of another thread comes in between."""
        with self._lock, self.hold_sync():
            yield

    def tell(self, says: str, *, error: bool = False, running: bool | None = None, to: int | None = None) -> None:
        """Answer the question that is being asked, or the one of the number `to`.
        What is running still is, unless said otherwise.
        """
        still = self.running if running is None else running
        with self.at_once():
            self.answer = {"to": self._to if to is None else to, "says": says, "error": error, "running": still}

    def way_back(self) -> Callable[[], None]:
        """What puts back, where a question fails, what it has changed already;
        for a widget that cannot change it last.
        """
        return lambda: None

    @contextmanager
    def answering(self, to: int, running: bool | None = None) -> Iterator[None]:
        """What is raised within becomes the answer to the question of that number, and everything is put back.

        A mistake is told in its own words; what else goes wrong in one line, and the log has the traceback.
        """
        back = self.way_back()
        try:
            yield
            return
        except BadInput as wrong:
            says = str(wrong)
        except KeyboardInterrupt:
            says = "It was interrupted. Nothing has changed."
        except ThplabError as failure:
            LOG.info("%s has failed", type(self).__name__, exc_info=True)
            says = str(failure)
        except Exception as failure:
            LOG.exception("%s has failed", type(self).__name__)
            told = f"{type(failure).__name__}: {failure}".splitlines()[0]
            says = f"Something failed inside ({told}). Nothing has changed; the log has the traceback."
        back()
        self.tell(says, error=True, running=running, to=to)

    def _asked(self, _widget: Any, question: Any, _buffers: Any) -> None:
        number = question.get("number") if isinstance(question, dict) else None
        with self.at_once():
            self._to = number if isinstance(number, int) else 0
            with self.answering(self._to):
                self.tell(self._done(question) or "")
            self._to = 0

    def _done(self, question: Any) -> str | None:
        """What the method that is asked for returns.
        Raises BadInput for what is no question, and as the method does.
        """
        match question:
            case {"do": str(what), "with": dict(given)}:
                pass
            case _:
                raise BadInput(
                    "question", f"is {question!r:.200}", '{"number": ..., "do": name, "with": {field: value}}'
                )
        if what not in self.asks:
            raise BadInput("do", f"is {what!r}", " or ".join(self.asks) or "no question at all")
        fields = get_type_hints(self.asks[what])
        fields.pop("return", None)
        for name in given | fields:
            if name not in given or name not in fields:
                wrong = "is missing" if name in fields else "is unknown"
                raise BadInput(name, wrong, f"{what} with {', '.join(fields) or 'no field'}")
            if not fits(given[name], fields[name]):
                raise BadInput(name, f"is {given[name]!r:.200}", inspect.formatannotation(fields[name]))
        return self.asks[what](self, **given)


def fits(value: object, kind: Any) -> bool:
    """Whether a value as JSON has it is of a type: int, float, str, bool, a union, or a list or dict of such."""
    origin, inside = get_origin(kind), get_args(kind)
    if origin is UnionType:
        return any(fits(value, each) for each in inside)
    if origin is list:
        return isinstance(value, list) and all(fits(each, inside[0]) for each in value)
    if origin is dict:
        return isinstance(value, dict) and all(fits(each, inside[1]) for each in value.values())
    return type(value) in ((int, float) if kind is float else (kind,))
