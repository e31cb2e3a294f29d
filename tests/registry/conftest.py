import sys
from pathlib import Path

# pytest's importlib mode puts no test folder on the path; the files made for these tests are a
# module beside them, which the worker processes import as well.
sys.path.insert(0, str(Path(__file__).parent))
