"""WHICH MODEL? Versions, aliases, lineage, export.

May import: store and core.
"""
