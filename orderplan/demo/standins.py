"""The stand-ins for fulfilment systems, as a process of their own beside the demo."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from orderplan.cli.common import UserError

SYSTEMS: Final = ("billing", "inventory", "activation", "workforce")
START_TIMEOUT_S: Final = 30.0
STOP_TIMEOUT_S: Final = 10.0
ANSWER_TIMEOUT_S: Final = 20.0


class StandIns:
    """The process; `url` is where the systems are. Ended on leaving the `with` block."""

    def __init__(self, checkout: Path, log: Path, *, delay_ms: float, seed: int) -> None:
        """Start it.

        Args:
            checkout: the folder that holds `examples`.
            log: every call becomes a line there.
            delay_ms: how long a call takes.
            seed: decides the numbers that the systems hand out.
        Raises:
            UserError: it did not start.
        """
        arguments = ["--port", "0", "--log", str(log), "--delay-ms", str(delay_ms), "--seed", str(seed)]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "examples.standins", *arguments],
            cwd=checkout,
            stdout=subprocess.PIPE,
            text=True,
            # Ctrl-C is for the demo, which ends them when it no longer needs them.
            start_new_session=True,
        )
        assert self._process.stdout is not None
        ready = self._process.stdout.readline().split()
        if not ready or ready[0] != "ready":
            self.stop()
            raise UserError("the stand-ins did not start", mend="see what `python -m examples.standins --port 0` says")
        self.url = ready[1]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End the process."""
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def behave(self, **behaviour: Any) -> None:
        """Change how a system behaves: `system`, `failNext`, `status`, `delayMs`, `offline`."""
        self._ask("/_behaviour", behaviour)

    def stats(self) -> dict[str, Any]:
        """Calls, distinct keys and repeats, in all and per system."""
        answer: dict[str, Any] = self._ask("/_stats")
        return answer

    def _ask(self, path: str, body: Any = None) -> Any:
        request = urllib.request.Request(self.url + path, None if body is None else json.dumps(body).encode())
        with urllib.request.urlopen(request, timeout=ANSWER_TIMEOUT_S) as answer:
            return json.load(answer)
