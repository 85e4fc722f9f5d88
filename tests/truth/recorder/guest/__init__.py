"""What runs in the guest: it performs operations when it is asked to, and looks at nothing but /proc.

The processes and what they do are those of the live lab's agent. On the guest's disk there is only this package and that one, so
nothing else of thplab may be imported here.
"""
