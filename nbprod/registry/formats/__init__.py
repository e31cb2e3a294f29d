"""Which files may enter the registry: formats that cannot execute code, judged by content.

Add one: a reader in the module of its family, a line in `allowed.READERS`, a good and a bad
file in the tests. A reader returns what is wrong with a file, or None.
"""

from nbprod.registry.formats.advice import advice
from nbprod.registry.formats.allowed import RESERVED, check_contents
from nbprod.registry.formats.folder import files_of

__all__ = ["RESERVED", "advice", "check_contents", "files_of"]
