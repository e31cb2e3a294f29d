"""Open nbprod.toml and wire store, runner, gates and registry together. The only wiring.

May import: every room below it.
"""
