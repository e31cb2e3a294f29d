"""What `bench_kernels.py` measures with: cases, contenders, load, checks, the chart.

May import: nbprod, and what the contenders are made of. Add a contender in `contenders.py`, a
notebook in `cases.py`.
"""
