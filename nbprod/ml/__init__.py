"""INSIDE THE KERNEL

May import:  data, baseline, training, evaluation. Control code never imports it.:notebook and core.
"""
