"""WHAT HAPPENED: tables, migrations, runs, job runs, leases, artifacts.

May import: notebook, core.
"""
