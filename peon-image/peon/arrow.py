"""
Arrow's compute functions.

pyarrow makes them when it is imported, so no type checker can see them; here they are taken as what they are.
"""

from typing import Any

import pyarrow.compute

compute: Any = pyarrow.compute
