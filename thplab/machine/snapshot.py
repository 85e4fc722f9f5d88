"""Snapshots: the state of a system now, and a system put in a state.
What did not change since the state before is shared with it.
"""

from __future__ import annotations

from collections import deque
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from thplab.errors import BadInput
from thplab.hardware.buddy import Buddy
from thplab.hardware.frames import COLUMNS, JUNK, PG_hwpoison, PG_used
from thplab.hardware.steps import Costs
from thplab.hardware.swap_device import NO_PAGE, SwapDevice
from thplab.kernel.address_space import AddressSpace, AnonVma, Vma
from thplab.kernel.system import System
from thplab.machine.state import AnonVmaState, ProcessState, State, SwapState, VmaState


def capture(system: System, previous: State | None = None, in_progress: bool = False) -> State:
    """The state of `system` now. Arrays that are equal to those of `previous` are shared with it."""
    nr = system.geometry.nr
    # A free frame shows nothing but its count, which a stale user may still drop below 0, and whether it is bad.
    free = system.frames.refcount | (system.frames.flags & PG_hwpoison)
    shown = np.flatnonzero((system.frames.in_use > 0) | free.reshape(-1, nr).any(axis=1)).tolist()
    now = system.frames.fields.reshape(len(COLUMNS), -1, nr)[:, shown].swapaxes(0, 1)
    flags = now[:, COLUMNS.index("flags")].copy()
    now[:, 1:] *= (flags[:, np.newaxis] & PG_used) != 0
    now[:, COLUMNS.index("flags")] |= flags & PG_hwpoison
    old_blocks, old_tables = (previous.blocks, previous.tables) if previous else ({}, {})
    blocks = {number: _share(block, old_blocks.get(number)) for number, block in zip(shown, now, strict=True)}
    tables = {pfn: _share(row, old_tables.get(pfn)) for pfn, row in system.tables.table.items()}
    return State(
        kernel=system.kernel,
        geometry=system.geometry,
        nframes=len(system.frames.refcount),
        blocks=blocks,
        tables=tables,
        levels=dict(system.tables.level),
        processes=tuple(_process(mm) for _, mm in sorted(system.mms.items())),
        anon_vmas={
            n: AnonVmaState(a.root, tuple((v.mm.name, v.start) for v in a.vmas)) for n, a in system.anon_vmas.items()
        },
        pins=dict(system.pins),
        held=dict(system.cpus.held),
        irqs_off=frozenset(system.cpus.irqs_off),
        tlb=dict(system.cpus.tlb),
        vmstat=dict(system.vmstat),
        costs=system.costs.as_dict(),
        deferred=tuple(system.deferred),
        settings=dict(system.settings),
        swap=_swap(system.swap, previous.swap if previous else None),
        poisoned=tuple(system.poisoned),
        ksm=system.ksm.frozen(),
        huge_zero_page=system.huge_zero_page,
        zero_page=system.frames.zero_page,
        in_progress=in_progress,
    )


A = TypeVar("A", bound=npt.NDArray[np.generic])


def _share(now: A, before: A | None) -> A:
    """`before` if it is equal, else a read-only copy of what is there now."""
    if before is not None and now.tobytes() == before.tobytes():
        return before
    copy = now.copy()
    copy.setflags(write=False)
    return copy


def _swap(device: SwapDevice | None, previous: SwapState | None) -> SwapState | None:
    if device is None:
        return None
    return SwapState(
        device.name,
        _share(device.swap_map.copy(), previous.swap_map if previous else None),
        _share(device.cache.copy(), previous.cache if previous else None),
        _share(device.content.copy(), previous.content if previous else None),
    )


def _process(mm: AddressSpace) -> ProcessState:
    vmas = tuple(VmaState(v.start, v.end, v.prot, v.flags, v.pgoff, tuple(a.number for a in v.chain)) for v in mm.vmas)
    deposited = tuple((table, tuple(waiting)) for table, waiting in sorted(mm.deposited.items()))
    counts = (mm.write_protect_seq, mm.mm_users, mm.alive)
    return ProcessState(mm.name, mm.pgd, mm.mm_id, mm.has_pinned, *counts, vmas, deposited, tuple(mm.regions.items()))


def refill(system: System, state: State) -> None:
    """Put a fresh system of the same kernel, geometry, memory and kind of swap in `state`, which must be at rest.

    It goes on exactly as the one that the state was taken from.
    Raises BadInput for a state in the middle of a routine, whose position a state does not hold.
    """
    if state.in_progress:
        raise BadInput("state", "is in the middle of a routine", "a state between two operations")
    frames, nr = system.frames, state.geometry.nr
    frames.flags[:] = 0
    frames.in_use[:] = 0
    for number, block in state.blocks.items():
        frames.fields[:, number * nr : (number + 1) * nr] = block
        frames.in_use[number] = np.count_nonzero(block[COLUMNS.index("flags")] & PG_used)
    frames.content[(frames.flags & PG_used) == 0] = JUNK
    frames.buddy = Buddy.with_used((frames.flags & PG_used) != 0, state.geometry.order)
    frames.zero_page = state.zero_page
    system.deferred = dict.fromkeys(state.deferred)
    system.settings = dict(state.settings)
    system.poisoned = list(state.poisoned)
    system.ksm = state.ksm.thawed()
    system.huge_zero_page = state.huge_zero_page
    if system.swap is not None and state.swap is not None:
        system.swap.swap_map[:] = state.swap.swap_map
        system.swap.cache[:] = state.swap.cache
        system.swap.content[:] = state.swap.content
        system.swap.slot_of = {
            int(state.swap.cache[slot]): int(slot) for slot in np.flatnonzero(state.swap.cache != NO_PAGE)
        }
    system.tables.table.update((pfn, row.copy()) for pfn, row in state.tables.items())
    system.tables.level = dict(state.levels)
    system.anon_vmas = {n: AnonVma(n, a.root) for n, a in state.anon_vmas.items()}
    for process in state.processes:
        name = process.name
        mm = AddressSpace(name, state.geometry, process.pgd, process.mm_id, system.mmap_sem(name), process.has_pinned)
        mm.write_protect_seq = process.write_protect_seq
        mm.vmas = [Vma(mm, *v[:5], [system.anon_vmas[n] for n in v.chain]) for v in process.vmas]
        mm.deposited = {table: deque(waiting) for table, waiting in process.deposited}
        system.mms[name] = mm
        mm.regions = dict(process.regions)
    for number, anon_vma in state.anon_vmas.items():
        found = (system.mms[name].find_vma(start) for name, start in anon_vma.vmas)
        system.anon_vmas[number].vmas = [vma for vma in found if vma is not None]
    system.cpus.held.update(state.held)  # what a wrong routine has left locked stays so
    system.cpus.irqs_off.update(dict.fromkeys(state.irqs_off, 1))
    system.cpus.tlb.update(state.tlb)
    system.pins.update(state.pins)
    system.vmstat.update(state.vmstat)
    costs = Costs.from_dict(dict(state.costs))
    system.costs.__dict__.update(costs.__dict__)
