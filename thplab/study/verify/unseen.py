"""What a recording could not see: both sides of a comparison are blurred in the same way before they are compared."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from thplab.study.verify.columns import Column, Columns, PagePlace
from thplab.study.verify.records import OperationView, RegionView

UNSEEN = {
    "frames": "which page frames are mapped, their kinds and mapcounts, and pages that nobody maps: for root",
    "maps": "whether a PMD or a PTE maps a page: since Linux 6.7 (who sees no frames then cannot tell the zero "
    "page, either)",
}
"""What a record may name as `unseen` -> what it is."""


def blurred(view: OperationView, unseen: Collection[str]) -> OperationView:
    """`view` as who cannot see the things named in `unseen` sees it.
    Anything else that is named there is no matter of a view.
    """
    if not UNSEEN.keys() & unseen:
        return view
    regions = {name: RegionView(region.fields, _pages(region.pages, unseen)) for name, region in view.regions.items()}
    return replace(view, regions=regions, frames={} if "frames" in unseen else view.frames)


def _pages(columns: Columns, unseen: Collection[str]) -> Columns:
    kept = {
        name: column for name, column in columns.items() if "frames" not in unseen or name not in ("kind", "mapcount")
    }
    places = Column()
    for run in columns["runs"].runs if "runs" in columns else ():
        assert isinstance(run.value, PagePlace)
        places.add(run.first, run.pages, _place(run.value, unseen))
    return kept | {"runs": places} if places.runs else kept


def _place(place: PagePlace, unseen: Collection[str]) -> PagePlace:
    if "frames" in unseen:
        place = place._replace(frame=None, page=None)
        if "maps" in unseen and place.state in ("zero", "hugezero"):
            place = place._replace(state="present")
    return place._replace(how="") if "maps" in unseen else place
