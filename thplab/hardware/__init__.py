"""The machine below the kernel: struct pages, page tables, CPUs with their locks, a swap device."""
