"""The named kernels: a scheme, and the few policies in which kernels differ. Data with sources, no logic."""

from __future__ import annotations

from dataclasses import dataclass

from thplab.errors import EBUSY, BadInput
from thplab.schemes import Rfc, Scheme


@dataclass(frozen=True)
class Kernel:
    """One kernel. Routines ask these fields and never the name."""

    name: str
    scheme: Scheme
    refcount_name: str
    """What struct page calls the reference count: `_count` until 4.5, `_refcount` since."""
    split_refused: int
    """The errno (positive) that a page split returns when the page is pinned."""
    source: str
    """Where the record was read."""


RFC_2014 = Kernel(
    name="rfc-2014",
    scheme=Rfc(),
    refcount_name="_count",
    split_refused=EBUSY,  # docs/KERNEL.md 2.2, "split_huge_page, pinned"
    source="docs/KERNEL.md section 2; mails 1402329861-7037-N-git-send-email-kirill.shutemov of 9 June 2014",
)

KERNELS = {k.name: k for k in (RFC_2014,)}
DEFAULT = RFC_2014.name


def kernel(name: str) -> Kernel:
    """The kernel record of that name. Raises BadInput for an unknown one."""
    try:
        return KERNELS[name]
    except KeyError:
        raise BadInput("kernel", f"{name!r} is unknown", "one of " + ", ".join(KERNELS)) from None
