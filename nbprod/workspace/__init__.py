"""The only wiring

May import:  opens nbprod.toml and brings store, runner, gates, registry together.:every room below.
"""
