"""A price function in a process of its own (`adapters/price_worker.py`): asked with a time limit, ended when it breaks
or does not keep to it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pickle
import signal
import sys
from collections.abc import Sequence
from typing import Any, Final

import orjson

from adapters.price_worker import LENGTH_BYTES, MEMORY_MAX
from domain.catalogue import Release
from domain.errors import BadRelease, Busy
from domain.price_calls import PriceAnswer, PriceCall
from domain.pricing import checked_values

CALL_S: Final = 1.0
"""How long one call may take."""
START_S: Final = 15.0
"""How long the process may take until its function is loaded."""
TRIES: Final = 2
"""A call that was not answered in time, or whose process ended, is made once more: the machine may be the cause."""
CALLS_A_PART: Final = 100
"""Sent at once: neither to write them nor to read their answers may hold the caller's loop."""
_ANSWER_BYTES_MAX: Final = 256 * 1024


class FunctionUnloadable(Exception):
    """The function is not there, or its process cannot be started; the text says why."""


class _Unanswered(Exception):
    """The function did not answer; the text says how."""


class PriceProcess:
    """One function; its process is started by the first question, and by the first one after a failure."""

    def __init__(self, function: str) -> None:
        self.function = function
        self._process: asyncio.subprocess.Process | None = None

    async def ask(self, calls: Sequence[PriceCall]) -> dict[str, PriceAnswer]:
        """What the function says, by the key of the call; nothing is asked after the first failure. One at a time.

        Raises:
            FunctionUnloadable: it cannot be asked here.
        """
        answers: dict[str, PriceAnswer] = {}
        tries = 0
        while len(answers) < len(calls):
            part = calls[len(answers) : len(answers) + CALLS_A_PART]
            try:
                await self._ask(part, answers)
            except _Unanswered as error:
                tries += 1
                if tries == TRIES:
                    answers[calls[len(answers)].key] = PriceAnswer(failure=str(error))
            if answers and answers[next(reversed(answers))].failure:
                break
        return answers

    async def load(self) -> None:
        """Start the process if there is none.

        Raises:
            FunctionUnloadable: there is no such function, or no process.
        """
        if self._process is not None:
            return
        path = os.pathsep.join(each for each in sys.path if each)
        try:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "adapters.price_worker",
                self.function,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                env=os.environ | {"PYTHONPATH": path},
                # A group of its own, so that what it starts ends with it.
                start_new_session=True,
            )
            async with asyncio.timeout(START_S):
                greeting = await self._read(self._process)
        except (OSError, EOFError, TimeoutError) as error:
            await self.close()
            took = f"took longer than {START_S:g} s" if isinstance(error, TimeoutError) else "ended"
            reason = f"price function {self.function!r} cannot be loaded: its process {took}"
            raise FunctionUnloadable(reason) from error
        except BaseException:
            self.kill()
            raise
        if greeting.failure:
            await self.close()
            raise FunctionUnloadable(greeting.failure)

    async def _ask(self, calls: Sequence[PriceCall], answers: dict[str, PriceAnswer]) -> None:
        """Fill `answers` in the order of the calls, until the first failure."""
        await self.load()
        process = self._process
        assert process is not None
        assert process.stdin is not None
        try:
            body = await asyncio.to_thread(_encoded, calls)
            process.stdin.write(len(body).to_bytes(LENGTH_BYTES, "big") + body)
            for call in calls:
                async with asyncio.timeout(CALL_S):
                    # Read before it is waited for: the process takes the whole list in before it answers.
                    answer = await self._read(process)
                answers[call.key] = answer
                if answer.failure:
                    # The others of the list are not heard.
                    await self.close()
                    return
        except TimeoutError:
            await self.close()
            raise _Unanswered(f"took longer than {CALL_S:g} s") from None
        except (OSError, EOFError) as error:
            await self.close()
            raise _Unanswered(f"ended its process (it may use {MEMORY_MAX >> 20} MB)") from error
        except BaseException:
            self.kill()
            raise

    @staticmethod
    async def _read(process: asyncio.subprocess.Process) -> PriceAnswer:
        assert process.stdout is not None
        length = int.from_bytes(await process.stdout.readexactly(LENGTH_BYTES), "big")
        if length > _ANSWER_BYTES_MAX:
            return PriceAnswer(failure=f"gave {length} bytes")
        return _answer(await process.stdout.readexactly(length))

    async def close(self) -> None:
        """End the process; a later question starts another."""
        process = self.kill()
        if process is not None:
            await process.wait()

    def kill(self) -> asyncio.subprocess.Process | None:
        """End the process without waiting for it; returns it, if there was one."""
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
        return process


def _encoded(calls: Sequence[PriceCall]) -> bytes:
    return pickle.dumps([(call.prices, call.line, call.context) for call in calls])


def _answer(body: bytes) -> PriceAnswer:
    """An answer as it may go on: nothing that the process says is taken as it comes."""
    try:
        read: Any = orjson.loads(body)
        if isinstance(read.get("failure"), str):
            return PriceAnswer(failure=read["failure"])
        return PriceAnswer(checked_values(read.get("values")))
    except (ValueError, AttributeError) as error:
        return PriceAnswer(failure=f"gave an answer that cannot be read: {type(error).__name__}")


async def check_functions(release: Release) -> None:
    """Load each price function that a release names, in a process of its own.

    Raises:
        BadRelease: one cannot be loaded, or takes other arguments; the path is that of the mapping that names it, the
            fact `problems` lists all of them.
    """
    named: dict[str, str] = {}
    for at_rule, rule in enumerate(release.decompositions):
        for at, mapping in enumerate(rule.map):
            if mapping.function is not None:
                named.setdefault(mapping.function, f"decompositions[{at_rule}].map[{at}].function")
    found: list[tuple[str, str]] = []
    for function, path in named.items():
        process = PriceProcess(function)
        try:
            await process.load()
        except FunctionUnloadable as error:
            found.append((path, str(error)))
        finally:
            await process.close()
    if found:
        path, reason = found[0]
        problems = [f"{where}: {why}" for where, why in found]
        mend = "install the function where plan hosts run, or name another one"
        raise BadRelease(reason, path=path, problems=problems, mend=mend)


def not_here(error: FunctionUnloadable) -> Busy:
    """The refusal of an order whose price function cannot be asked on this machine."""
    return Busy(str(error), mend="install the function where plan hosts run, then send the order again", retryAfterS=30)
