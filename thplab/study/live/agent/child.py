"""A process of a scenario: it maps the memory, and does with it what the agent asks for,
one operation after the other.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import signal
import socket
import struct
import time
from collections.abc import Callable
from typing import Any, NoReturn

from . import libc
from .libc import HUGE, PAGE
from .ring import Ring

Answer = dict[str, Any]
Op = dict[str, Any]

_F_SETPIPE_SZ = 1031
_GUARD = 58
"""The bit of /proc/PID/pagemap that says that a guard marker is there (since 6.15)."""
RING_DELAY = 0.05
"""io_uring gives references back a little after the call, in a thread of the kernel."""


class Child:
    """The regions and pins of one process; `run` answers the agent until it hangs up."""

    def __init__(self, line: socket.socket, agent: int) -> None:
        self.line = line
        self.agent = agent
        self.regions: dict[str, int] = {}
        self.last = 0
        """Where the last region ends."""
        self.pins: dict[str, Callable[[], int | str]] = {}
        """Name of a pin -> how it is let go. Children inherit the files that hold it, so they can do it as well."""
        self.views: dict[str, Callable[[], list[int]]] = {}
        """Name of a pin -> what tells the first byte of each of its pages."""
        self.rings: dict[str, Ring] = {}

    def run(self) -> NoReturn:
        """Answer each request; end when the agent closes its side, or with the request to exit."""
        libc.die_with_parent(self.agent)
        received = b""
        while True:
            while b"\n" not in received:
                data = self.line.recv(1 << 16)
                if not data:
                    os._exit(0)
                received += data
            request, received = received.split(b"\n", 1)
            op = json.loads(request)
            try:
                answer = self.fork() if op["op"] == "fork" else self.perform(op)
            except OSError as error:
                answer = {"ret": libc.failure(error.errno or 0)}
            self.line.sendall(json.dumps(answer).encode() + b"\n")
            if op["op"] == "exit":
                os._exit(0)

    def fork(self) -> Answer:
        """Make a copy of this process. The agent gets the other end of the copy's line before the answer."""
        ours, theirs = socket.socketpair()
        pid = libc.clone_sibling()
        if pid == 0:
            libc.die_with_parent(self.agent)
            self.line.close()
            ours.close()
            self.line = theirs
            return {"ret": 0}
        theirs.close()
        if pid > 0:
            socket.send_fds(self.line, [b"+"], [ours.fileno()])
        ours.close()
        return {"ret": libc.answer(pid > 0), "pid": pid}

    def perform(self, op: Op) -> Answer:
        """Carry out any other operation; the fields are those of the vocabulary, page numbers plain."""
        match op["op"]:
            case "mmap":
                return self.mmap(op)
            case "exit":
                return {"ret": 0}
            case "unpin":
                self.views.pop(op["pin"], None)
                return {"ret": self.pins.pop(op["pin"])()}
            case "clear_refs":
                return {"ret": libc.clear_refs(op["value"])}
            case "peek":
                return {"ret": 0, "bytes": self.views[op["pin"]]()}
            case "dma_read":
                return {"ret": 0}  # what every pin reads is told after each operation
            case "dma_write":
                return {"ret": self.rings[op["pin"]].write(op["start"], op["value"])}
            case "read":
                return self.read(op)
        address = self.regions[op["region"]] + op["start"] * PAGE
        return {"ret": getattr(self, op["op"])(op, address, op["npages"] * PAGE)}

    def mmap(self, op: Op) -> Answer:
        """Map a region at a place of its own, and advise huge pages unless the operation says none. Raises OSError."""
        base = libc.map_region(self.last, op["thps"], op["prot"])
        self.last = base + op["thps"] * HUGE * PAGE
        self.regions[op["region"]] = base
        worked = op["advise"] == "none" or libc.madvise(base, op["thps"] * HUGE * PAGE, "hugepage")
        return {"ret": worked if isinstance(worked, str) else 0, "base": base}

    def write(self, op: Op, address: int, size: int) -> int | str:
        """Store a byte in each page as far as the process may: 0, or "-EFAULT". By force the kernel does it
        (FOLL_FORCE). Raises OSError.
        """
        if op["force"]:
            with open("/proc/self/mem", "r+b", buffering=0) as file:
                for page in range(size // PAGE):
                    os.pwrite(file.fileno(), bytes([op["value"]]), address + page * PAGE)
            return 0
        for page in range(reachable := _reachable(address, size, "w")):
            ctypes.c_ubyte.from_address(address + page * PAGE).value = op["value"]
        return 0 if reachable * PAGE == size else "-EFAULT"

    def read(self, op: Op) -> Answer:
        """Load a byte of each page as far as the process may, and say which: 0, or "-EFAULT"."""
        address = self.regions[op["region"]] + op["start"] * PAGE
        pages = range(_reachable(address, op["npages"] * PAGE, "r"))
        loaded = [ctypes.c_ubyte.from_address(address + page * PAGE).value for page in pages]
        return {"ret": 0 if len(pages) == op["npages"] else "-EFAULT", "bytes": loaded}

    def fill(self, op: Op, address: int, size: int) -> int | str:
        """Fill each page, with zeroes, the same, or something of its own, as far as the process may:
        0, or "-EFAULT".
        """
        byte = {"zero": 0, "same": 0x77, "unique": 0xA5}[op["pattern"]]
        for page in range(reachable := _reachable(address, size, "w")):
            ctypes.memset(address + page * PAGE, byte, PAGE)
            if op["pattern"] == "unique":
                ctypes.c_uint64.from_address(address + page * PAGE).value = (os.getpid() << 32) + op["start"] + page + 1
        return 0 if reachable * PAGE == size else "-EFAULT"

    def mprotect(self, op: Op, address: int, size: int) -> int | str:
        """What mprotect() says: 0 or an error's name."""
        return libc.mprotect(address, size, op["prot"])

    def munmap(self, op: Op, address: int, size: int) -> int | str:
        """What munmap() says."""
        return libc.munmap(address, size)

    def mlock(self, op: Op, address: int, size: int) -> int | str:
        """What mlock() says."""
        return libc.mlock(address, size)

    def munlock(self, op: Op, address: int, size: int) -> int | str:
        """What munlock() says."""
        return libc.munlock(address, size)

    def madvise(self, op: Op, address: int, size: int) -> int | str:
        """What madvise() says."""
        return libc.madvise(address, size, op["advice"])

    def mremap(self, op: Op, address: int, size: int) -> int | str:
        """Move pages to a place of another region, or change how many they are: what mremap() says."""
        to = None if op["to"] is None else self.regions[op["to"]] + op["at"] * PAGE
        return libc.mremap(address, size, size if op["size"] is None else op["size"] * PAGE, to, op["dontunmap"])

    def pin(self, op: Op, address: int, size: int) -> int | str:
        """Take pins that last until the unpin of that name: by vmsplice (FOLL_GET), or by a fixed buffer of a ring
        (FOLL_PIN).
        """
        return PINS[op["how"]](self, op["pin"], address, size)

    def _pin_by_pipe(self, name: str, address: int, size: int) -> int | str:
        """FOLL_GET: vmsplice puts the pages themselves into a pipe; reading them out lets them go."""
        out, into = os.pipe()
        if size > 16 * PAGE:
            fcntl.fcntl(into, _F_SETPIPE_SZ, size)

        def let_go() -> int:
            left = size
            while left:
                left -= len(os.read(out, left))
            os.close(out)
            os.close(into)
            return 0

        def look() -> list[int]:
            copy, end = os.pipe()
            try:
                fcntl.fcntl(end, _F_SETPIPE_SZ, max(size, 16 * PAGE))
                libc.tee(out, end, size)
                return [os.read(copy, PAGE)[0] for _ in range(size // PAGE)]
            finally:
                os.close(copy)
                os.close(end)

        taken = libc.vmsplice(into, address, size)
        if taken == 0:
            self.pins[name], self.views[name] = let_go, look
        else:
            os.close(out)
            os.close(into)
        return taken

    def _pin_by_ring(self, name: str, address: int, size: int) -> int | str:
        """FOLL_PIN: the memory becomes a fixed buffer of an io_uring."""
        ring = Ring()

        def let_go() -> int | str:
            done = ring.unregister()
            ring.close()
            time.sleep(RING_DELAY)
            return done

        taken = ring.register(address, size)
        if taken == 0:
            self.pins[name], self.views[name], self.rings[name] = let_go, ring.read, ring
        else:
            ring.close()
        return taken


PINS: dict[str, Callable[[Child, str, int, int], int | str]] = {
    "vmsplice": Child._pin_by_pipe,
    "io_uring": Child._pin_by_ring,
}
"""How a pin is taken -> what takes it."""


def _reachable(address: int, size: int, right: str) -> int:
    """How many pages from `address` on, at most `size` bytes, may be touched:
    a store that may not be made would end the process.
    """
    at = address
    with open("/proc/self/maps") as file:
        for line in file:
            bounds, rights = line.split(maxsplit=2)[:2]
            low, high = (int(bound, 16) for bound in bounds.split("-"))
            if low <= at < high:
                if right not in rights:
                    break
                at = high
            elif low > at:
                break
            if at >= address + size:
                break
    return _unguarded(address, (min(at, address + size) - address) // PAGE)


def _unguarded(address: int, pages: int) -> int:
    """How many pages of this process, from `address` on, come before the first guard marker (MADV_GUARD_INSTALL)."""
    with open("/proc/self/pagemap", "rb", buffering=0) as file:
        entries = struct.unpack(f"{pages}Q", os.pread(file.fileno(), 8 * pages, address // PAGE * 8))
    return next((page for page, entry in enumerate(entries) if entry >> _GUARD & 1), pages)


def _keep_only(line: int) -> None:
    """Close what was the agent's: a line that is open here, too, would not end with the agent."""
    for file in map(int, os.listdir("/proc/self/fd")):
        if file not in (line, 2):
            with contextlib.suppress(OSError):  # the folder itself was in the list
                os.close(file)


def start(agent: int) -> tuple[int, socket.socket]:
    """Fork the first process of a scenario from the agent: its pid and the agent's end of the line to it."""
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid:
        theirs.close()
        return pid, ours
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        _keep_only(theirs.fileno())
        Child(theirs, agent).run()
    finally:
        os._exit(1)
