"""The kernel: its data, what the counters mean (schemes), the records of seven kernels, its routines,
and wrong ones.
"""
