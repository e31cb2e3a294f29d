"""Numbered changes of the store's tables, applied in order by Alembic.

A new one is `versions/NNNN_word.py`, and its name goes to the end of `schema.REVISIONS`.
"""
