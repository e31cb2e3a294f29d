"""THE .ipynb: template, front matter, parameters, scraps, journal, checks.

May import: core.
"""
