"""THE .ipynb

May import:  template, front matter, parameters, scraps, journal, checks.:core.
"""
