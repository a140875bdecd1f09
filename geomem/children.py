"""Processes that end with the one that started them, also where that one was killed."""

from __future__ import annotations

import os
import signal
import threading
import time

LOOK_SECONDS = 0.5


def end_with(parent: int, *, grace: float = 10.0) -> None:
    """From now on: when ``parent`` is gone, stop this process, too.

    A thread looks, which works on every Unix. It asks once, with SIGTERM, so that temporary folders
    and this process's own children go; after some time it does not ask.

    Parameters
    ----------
    parent : process id of whoever started this one, as that one knows it: it may be gone already.
    grace : seconds from asking to not asking.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(LOOK_SECONDS)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
        time.sleep(grace)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
