"""Every error nbprod raises on purpose, one module a room.

NbprodError
"""

from nbprod.core.errors.root import NbprodError

__all__ = ["NbprodError"]
