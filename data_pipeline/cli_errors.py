"""A program's user mistakes -> one sentence on stderr and an exit code, never a traceback."""

import functools
import os
import sys
from collections.abc import Callable
from typing import ParamSpec

P = ParamSpec("P")


def user_errors(program: Callable[P, None]) -> Callable[P, None]:
    """Wrap a program's body: bad values, files and options print `error: …` and exit 1; Ctrl-C exits 130.

    `PAWTRAIT_DEBUG=1` shows the traceback instead, for whoever is changing the code.
    """

    @functools.wraps(program)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        from hydra.errors import HydraException
        from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

        try:
            program(*args, **kwargs)
        except KeyboardInterrupt:
            print("stopped; run the same command again to go on", file=sys.stderr)  # noqa: T201
            sys.exit(130)
        except (ValueError, OSError, HydraException, OmegaConfBaseException) as error:
            if os.environ.get("PAWTRAIT_DEBUG"):
                raise
            text = " ".join(str(error).split())
            if isinstance(error, MissingMandatoryValue):
                option = getattr(error, "full_key", None) or text
                text = f"the option {option} is required: give it as {option}=VALUE (see --help)"
            print(f"error: {text}", file=sys.stderr)  # noqa: T201
            sys.exit(1)

    return run
