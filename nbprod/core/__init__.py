"""Values, errors, events, protocols and the clock. No I/O; no heavy imports.

May import: nothing else of nbprod.
"""
