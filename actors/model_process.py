"""A delay model of one's own, in a process of its own (`delay/worker.py`): asked with a time limit, ended when it does
not keep to it or breaks.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pickle
import sys
from typing import Any, Final

from delay.worker import LENGTH_BYTES, encoded

ANSWER_BYTES_MAX: Final = 64 * 1024 * 1024


class ModelFailed(Exception):
    """A model did not answer in time, broke, or raised; its text says which, never with an order's values."""


class ModelProcess:
    """One model; the process is started by the first question after a failure. One question at a time."""

    def __init__(self, address: str, document: dict[str, Any] | None = None) -> None:
        """Nothing is started yet.

        Args:
            address: of a class (`module:attr`), unless there is a document.
            document: an artefact, whatever its form.
        """
        self._address = address
        self._document = document
        self._process: asyncio.subprocess.Process | None = None

    @property
    def is_running(self) -> bool:
        """Whether a process is there, so that the model need not be taught again."""
        return self._process is not None

    async def ask(self, method: str, argument: Any, timeout_s: float) -> Any:
        """What the model's method gives.

        Raises:
            ModelFailed: it gave nothing; the process is ended.
        """
        try:
            async with asyncio.timeout(timeout_s):
                return await self._ask(method, argument)
        except TimeoutError:
            raise ModelFailed(f"{method} took longer than {timeout_s:g} s") from None
        except (OSError, EOFError, asyncio.IncompleteReadError) as error:
            raise ModelFailed(f"its process ended during {method}") from error
        except Exception as error:
            # An answer that cannot be unpickled: what it raises is up to what the model returned.
            if isinstance(error, ModelFailed):
                raise
            raise ModelFailed(f"its answer to {method} cannot be read: {type(error).__name__}") from error
        finally:
            # Also when the task is cancelled: a late answer must not be taken for that to the next question.
            if sys.exc_info()[0] is not None:
                await self.close()

    async def _ask(self, method: str, argument: Any) -> Any:
        process = self._process
        if process is None:
            process = await self._start()
            if self._document is not None:
                await self._exchange(process, "load", self._document)
        return await self._exchange(process, method, argument)

    async def _exchange(self, process: asyncio.subprocess.Process, method: str, argument: Any) -> Any:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(await asyncio.to_thread(encoded, (method, argument)))
        await process.stdin.drain()
        length = int.from_bytes(await process.stdout.readexactly(LENGTH_BYTES), "big")
        if length > ANSWER_BYTES_MAX:
            raise ModelFailed(f"its answer to {method} has {length} bytes")
        kind, answer = pickle.loads(await process.stdout.readexactly(length))
        if kind == "failed":
            raise ModelFailed(f"{method} raised {answer}")
        return answer

    async def _start(self) -> asyncio.subprocess.Process:
        path = os.pathsep.join(each for each in sys.path if each)
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "delay.worker",
            self._address,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": path},
        )
        return self._process

    async def close(self) -> None:
        """End the process; a later question starts another."""
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
