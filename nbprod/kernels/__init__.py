"""PROCESSES that are warm: zygotes with their imports done, kernels and commands forked from them.

May import: core. A new kind of forked process is a new target of `protocol.Fork`.
"""
