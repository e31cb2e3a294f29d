"""WHICH MODEL? Versions, aliases, lineage, export.

May import: store, core.
"""
