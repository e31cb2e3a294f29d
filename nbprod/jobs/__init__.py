"""Job files, job runs, steps, references between steps, order of execution.

May import: workspace and below.
"""
