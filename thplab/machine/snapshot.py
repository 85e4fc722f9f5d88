"""Snapshots: the state of a system now, and a system put in a state.
What did not change since the state before is shared with it.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from thplab.errors import BadInput
from thplab.hardware.shared import Shared
from thplab.hardware.steps import Costs
from thplab.hardware.swap_device import NO_PAGE, SwapDevice
from thplab.kernel.address_space import AddressSpace, AnonVma, Vma
from thplab.kernel.memory import DeferredQueue
from thplab.kernel.system import System
from thplab.machine.state import AnonVmaState, BlockArrays, ProcessState, State, SwapState, VmaState


def capture(system: System, in_progress: bool = False) -> State:
    """The state of `system` now. It shares what did not change with the state before it, of this machine or, for one
    that was restored, of the one that the state was taken from; nothing else is looked at.
    """
    tables, levels = system.tables.keep()
    return State(
        kernel=system.kernel,
        geometry=system.geometry,
        nframes=len(system.frames.refcount),
        blocks=BlockArrays(system.frames.blocks.keep()),
        tables=tables,
        levels=levels,
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
        deferred=system.deferred.keep(),
        settings=dict(system.settings),
        swap=_swap(system.swap),
        poisoned=tuple(system.poisoned),
        ksm=system.ksm.frozen(),
        huge_zero_page=system.huge_zero_page,
        zero_page=system.frames.zero_page,
        in_progress=in_progress,
    )


def _swap(device: SwapDevice | None) -> SwapState | None:
    if device is None:
        return None
    if device.touched or device.kept is None:
        slots = device.swap_map.copy(), device.cache.copy(), device.content.copy()
        for array in slots:
            array.setflags(write=False)
        device.touched, device.kept = False, slots
    return SwapState(device.name, *device.kept)


def _process(mm: AddressSpace) -> ProcessState:
    vmas = tuple(VmaState(v.start, v.end, v.prot, v.flags, v.pgoff, tuple(a.number for a in v.chain)) for v in mm.vmas)
    counts = (mm.write_protect_seq, mm.mm_users, mm.alive)
    regions = tuple(mm.regions.items())
    return ProcessState(mm.name, mm.pgd, mm.mm_id, mm.has_pinned, *counts, vmas, mm.keep_deposits(), regions)


def refill(system: System, state: State) -> None:
    """Put a fresh system of the same kernel, geometry, memory and kind of swap in `state`, which must be at rest.

    It goes on exactly as the one that the state was taken from.
    Raises BadInput for a state in the middle of a routine, whose position a state does not hold.
    """
    if state.in_progress:
        raise BadInput("state", "is in the middle of a routine", "a state between two operations")
    system.frames.restore(BlockArrays.of(state.blocks).kept, state.zero_page)
    system.deferred = DeferredQueue((head, None) for head in state.deferred)
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
    system.tables.restore(Shared.of(state.tables), Shared.of(state.levels))
    system.anon_vmas = {n: AnonVma(n, a.root) for n, a in state.anon_vmas.items()}
    for process in state.processes:
        name = process.name
        mm = AddressSpace(name, state.geometry, process.pgd, process.mm_id, system.mmap_sem(name), process.has_pinned)
        mm.write_protect_seq = process.write_protect_seq
        mm.vmas = [Vma(mm, *v[:5], [system.anon_vmas[n] for n in v.chain]) for v in process.vmas]
        mm.deposited = {table: deque(waiting) for table, waiting in process.deposited}
        mm.deposits_kept = process.deposited
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
