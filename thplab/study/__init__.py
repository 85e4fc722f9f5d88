"""What is asked of a machine: does it hold, in every order, as recorded, on the running kernel,
and what does it cost.
"""
