"""Arrow's compute functions; they are made when it is imported, so type checkers cannot see them."""

from typing import Any

import pyarrow.compute

pc: Any = pyarrow.compute
