"""SHOW IT

May import:  pages without code.:notebook and core.
"""
