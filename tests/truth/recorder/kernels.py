"""The kernels that can be asked: Debian's packages of each, and the few numbers that a kernel's BTF does not tell."""

from __future__ import annotations

from dataclasses import dataclass

from thplab.errors import BadInput


@dataclass(frozen=True)
class Kernel:
    """A kernel by the first two numbers of its version."""

    name: str
    suite: str
    """The suite of Debian that has it."""
    image: str
    """What its image package is called, as a pattern; the newest that fits is taken."""
    kbuild: str
    """What the package with the build tools is called; `{abi}` stands for the version in the name of the image
    package."""
    table_type: tuple[int, int]
    """The page_type of a page table is `value` under `mask` (include/linux/page-flags.h: PG_table, PGTY_table)."""
    swap_types: tuple[int, ...]
    """The swap types of hwpoison entries and then of migration entries (include/linux/swap.h: SWP_HWPOISON,
    SWP_MIGRATION_READ ...)."""
    saved_dirty: bool = False
    """Does _PAGE_SAVED_DIRTY count as dirty, too? (arch/x86/include/asm/pgtable_types.h, since 6.6)"""


KERNELS = {
    kernel.name: kernel
    for kernel in (
        Kernel(
            "5.10", "bullseye-security", r"^linux-image-5\.10\.0-[0-9]+-amd64-unsigned$", "linux-kbuild-5.10",
            (0xFFFFFFFF, 0xFFFFFBFF), (29, 30, 31),
        ),
        Kernel(
            "6.1", "bookworm-security", r"^linux-image-6\.1\.0-[0-9]+-amd64-unsigned$", "linux-kbuild-6.1",
            (0xFFFFFFFF, 0xFFFFFDFF), (26, 27, 28, 29),
        ),
        Kernel(
            "6.12", "bookworm-security", r"^linux-image-6\.12\.[0-9]+\+deb12-amd64-unsigned$", "linux-kbuild-{abi}",
            (0xFF000000, 0xF2000000), (27, 28, 29, 30), saved_dirty=True,
        ),
        Kernel(
            "6.18", "trixie-backports", r"^linux-image-6\.18\.[0-9]+\+deb13-amd64$", "linux-kbuild-{abi}",
            (0xFF000000, 0xF2000000), (24, 25, 26, 27), saved_dirty=True,
        ),
    )
}  # fmt: skip


def kernel_named(name: str) -> Kernel:
    """The kernel called `name`. Raises BadInput if there is none."""
    if name not in KERNELS:
        raise BadInput("kernel", f"is {name!r}", "one of " + ", ".join(KERNELS))
    return KERNELS[name]
