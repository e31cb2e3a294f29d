"""MAY IT PASS? Pure functions from evidence to verdict: `judge.judge`, `declarations.parse_gates`.

May import: core. A new gate is a function `(options, case) -> Verdict`, its first parameter
annotated with a subclass of `options.GateOptions`, under the entry point group `nbprod.gates`.
"""
