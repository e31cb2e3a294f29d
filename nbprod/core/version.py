"""The version of this package, for rooms below `nbprod` itself."""

VERSION = "0.1.0"
