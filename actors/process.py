"""What every actor's process sets up for itself before it works."""

from __future__ import annotations

import gc
from typing import Final

from actors.logs import configure_logs

YOUNG_MAX: Final = 20_000
"""Objects made since the last collection; Python's own bound of 700 collects some hundred times a second here."""


def prepare_process(log_level: str = "info") -> None:
    """Set up logs and the garbage collector; repeating it is harmless.

    More than a hundred thousand objects of the imported modules live as long as the process. A full collection that
    walks over them takes two tenths of a second, in which an event loop answers nobody: they are put out of its sight.
    """
    configure_logs(log_level)
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_MAX, 20, 20)
