"""Two cores and other work on them -> threads that wait politely: set before torch is loaded."""

import os

SPIN_COUNT = "3000"
"""How often an idle OpenMP thread looks for work before it sleeps; libgomp's 300,000 burn the core that others need.

Measured with the starter on two cores: quiet 34 frames/s instead of 35, beside another busy program 17 instead of 4.
"""


def share_cores() -> None:
    """Let this process' OpenMP threads give way; a value of the user's own stays."""
    os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)
