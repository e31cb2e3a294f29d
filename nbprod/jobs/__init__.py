"""WHAT BELONGS TOGETHER: job files, job runs, steps, references, order of execution.

May import: workspace and below.
"""
