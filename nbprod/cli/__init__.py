"""The FACE in a terminal.

May import: every room.
"""
