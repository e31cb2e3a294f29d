"""SHOW IT: pages without code.

May import: notebook, core.
"""
