"""What each step of a race makes, found by as few runs as can be: most of an exploration is carrying out steps again.

A step depends on the machine and on its own CPU's position only, so its outcome is known when it comes again. The
positions of the other CPUs stay; but a position names objects of the machine, of which a step of another CPU changes
VMAs alone. Where it does, the step is carried out for each state of the race.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import NamedTuple

from thplab.machine.state import State
from thplab.study.explore.pair import Pair
from thplab.study.explore.run import RaceRun, Schedule
from thplab.study.invariants import Violation

_NEAR = 8
"""How many states of the race a run looks through for one where it is of use."""


class Key(NamedTuple):
    """What two states of a race are told apart by: the machine, where each CPU stands (None: it has ended), a bug that
    was met.
    """

    machine: bytes
    cpus: tuple[int | None, ...]
    bug: str

    @property
    def under_way(self) -> bool:
        """Has any CPU not ended?"""
        return self.cpus.count(None) < len(self.cpus)


class Move(NamedTuple):
    """What a CPU's step makes of the machine and of its own position."""

    machine: bytes
    stands: int | None
    bug: str
    ended: bool


class Unknown:
    """What a step makes that was not carried out yet."""


UNKNOWN = Unknown()


class Moves:
    """The steps of a pair that were carried out, and what is wrong with the states of the machine that they lead to."""

    def __init__(self, pair: Pair) -> None:
        self.pair = pair
        self.moves: dict[tuple[bytes, int, int | None], Move | None] = {}
        """(machine, CPU, where it stands) -> what its step makes; None for a step that has to wait."""
        self.others: dict[tuple[Key, int], tuple[int | None, ...]] = {}
        """Where all CPUs stand after a step that has changed VMAs."""
        self.vmas: dict[bytes, Hashable] = {}
        """The VMAs of each state of the machine."""
        self.names: dict[Hashable, int] = {}
        """A number for each place where a CPU stood, which is compared often."""
        self.problems: dict[tuple[bytes, bool, str], Violation | None] = {}
        """What is wrong with a state of the machine, which many states of the race share."""
        self.ways: dict[Key, Schedule] = {}
        """The states of the race that are known, each with a schedule to it."""
        self.asked: dict[Hashable, tuple[int, list[Key]]] = {}
        """The steps that are not carried out yet, each with its CPU and the states where it would be made."""

    def start(self, run: RaceRun, state: State) -> Key:
        """The key of a run that has not moved, and of its state."""
        self.vmas[state.exact] = _vmas(state)
        return Key(state.exact, self._all_stand(run), "")

    def known(self, key: Key, cpu: int) -> Move | Unknown | None:
        """What a step of `cpu` makes at `key`, None for a wait."""
        move = self.moves.get((key.machine, cpu, key.cpus[cpu]), UNKNOWN)
        if isinstance(move, Move) and self.vmas[move.machine] != self.vmas[key.machine]:
            return move if (key, cpu) in self.others else UNKNOWN
        return move

    def after(self, key: Key, cpu: int, move: Move) -> Key:
        """Where a step that is known leads."""
        cpus = self.others.get((key, cpu)) or (*key.cpus[:cpu], move.stands, *key.cpus[cpu + 1 :])
        return Key(move.machine, cpus, move.bug)

    def movers(self, key: Key) -> list[int]:
        """The CPUs whose step is to be tried: one that is known to return, else all that have not ended.

        That a routine returns touches nothing: that need not be tried in every order.
        """
        under_way = [cpu for cpu, stands in enumerate(key.cpus) if stands is not None]
        for cpu in under_way:
            move = self.moves.get((key.machine, cpu, key.cpus[cpu]))
            if move is not None and move.ended:
                return [cpu]
        return under_way

    def carry_out(self, run: RaceRun, key: Key, cpu: int) -> tuple[Move | None, State | None]:
        """Let `run`, which stands at `key`, do a step of `cpu`: what it makes, and the state then; None for a wait."""
        if not run.move(cpu):
            self.moves[key.machine, cpu, key.cpus[cpu]] = None
            return None, None
        state = run.state()
        vmas = self.vmas[state.exact] = _vmas(state)
        move = Move(state.exact, self._stands(run, cpu), run.bug, run.ended)
        self.moves[key.machine, cpu, key.cpus[cpu]] = move
        if vmas != self.vmas[key.machine]:
            self.others[key, cpu] = self._all_stand(run)
        return move, state

    def problem(self, key: Key, run: RaceRun | None, state: State | None, schedule: Schedule) -> Violation | None:
        """What is wrong at `key`, which `schedule` leads to; `run` and its `state` stand there, if at hand."""
        seen = (key.machine, key.under_way, key.bug)
        if seen not in self.problems:
            run = run or RaceRun(self.pair, schedule)
            self.problems[seen] = run.problem(state or run.state())
        return self.problems[seen]

    # --- finding out --------------------------------------------------------------------------------------------------

    def find_out(self, start: Key, limit: int) -> None:
        """Carry out every step that can be made from `start`, in at most so many states of the race.

        A run goes on for as long as there is something near that was not carried out: to get there from the start takes
        longer. A state that breaks an invariant is not followed any further.
        """
        self._add(start, ())
        while self.asked and len(self.ways) < limit:
            question, (cpu, keys) = next(iter(self.asked.items()))
            key = next((key for key in keys if cpu in self.movers(key)), None)
            if key is None:
                del self.asked[question]  # another CPU is known to return there
            else:
                self._wander(RaceRun(self.pair, self.ways[key]), key)

    def _add(self, key: Key, way: Schedule) -> None:
        """Note a state of the race, and all to which known steps lead from there."""
        stack = [(key, way)]
        while stack:
            key, way = stack.pop()
            if key in self.ways:
                continue
            self.ways[key] = way
            if self.problem(key, None, None, way):
                continue
            for cpu in self.movers(key):
                move = self.known(key, cpu)
                if isinstance(move, Move):
                    stack.append((self.after(key, cpu, move), (*way, cpu)))
                elif move is UNKNOWN:
                    self.asked.setdefault(self._question(key, cpu), (cpu, []))[1].append(key)

    def _question(self, key: Key, cpu: int) -> Hashable:
        general = (key.machine, cpu, key.cpus[cpu])
        return (key, cpu) if general in self.moves else general

    def _wander(self, run: RaceRun, key: Key) -> None:
        """Let a run, which stands at `key`, carry out steps that are asked for until there is none near."""
        while (way := self._way_to_asked(key)) is not None:
            *known, cpu = way
            for each in known:
                move = self.known(key, each)
                assert isinstance(move, Move)
                key = self.after(key, each, move)
                run.move(each)
            _, waiting = self.asked.pop(self._question(key, cpu), (cpu, []))
            made, state = self.carry_out(run, key, cpu)
            if made is None:
                return  # what it has looked at in vain may stand in its locals
            after = self.after(key, cpu, made)
            wrong = self.problem(after, run, state, ())
            for other in dict.fromkeys((key, *waiting)):
                if isinstance(move := self.known(other, cpu), Move):
                    self._add(self.after(other, cpu, move), (*self.ways[other], cpu))
                else:
                    self.asked.setdefault(self._question(other, cpu), (cpu, []))[1].append(other)
            if wrong:
                return
            key = after

    def _way_to_asked(self, start: Key) -> Schedule | None:
        """The shortest way from `start` to a step that was not carried out yet, that step included."""
        ways: dict[Key, Schedule] = {start: ()}
        queue = [start]
        for key in queue:  # it grows
            for cpu in self.movers(key):
                move = self.known(key, cpu)
                if move is UNKNOWN:
                    return (*ways[key], cpu)
                if isinstance(move, Move):
                    after = self.after(key, cpu, move)
                    if after not in ways and not self.problem(after, None, None, (*self.ways[key], cpu)):
                        ways[after] = (*ways[key], cpu)
                        queue.append(after)
            if len(queue) > _NEAR:
                break
        return None

    def _stands(self, run: RaceRun, cpu: int) -> int | None:
        stands = run.stands(cpu)
        return None if stands is None else self.names.setdefault(stands, len(self.names))

    def _all_stand(self, run: RaceRun) -> tuple[int | None, ...]:
        return tuple(self._stands(run, cpu) for cpu in range(len(self.pair.cpus)))


def _vmas(state: State) -> Hashable:
    return tuple(process.vmas for process in state.processes)
