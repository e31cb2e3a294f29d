"""HOW an attempt executes

May import:  the papermill process and what supervises it.:notebook and core.
"""
