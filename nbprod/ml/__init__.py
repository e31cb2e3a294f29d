"""INSIDE THE KERNEL: data, baseline, training, evaluation. Control code never imports it.

May import: notebook, core.
"""
