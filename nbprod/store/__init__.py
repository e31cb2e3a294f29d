"""WHAT HAPPENED

May import:  tables, migrations, runs, job runs, leases, artifacts.:notebook and core.
"""
