"""Calls between simulated processes, as Ray makes them: by handle, copied, slow, and lost with their receiver."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Callable
from typing import Any, Final

from ray.exceptions import ActorDiedError, ActorUnavailableError

from tests.simulation.database import OUTSIDE, Weather
from tests.simulation.loop import Process

NOTICED_S: Final = 1.4
"""After which Ray says that a process is dead."""


class Place:
    """Where an actor lives: its process and its object; empty while it is being started again."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.process: Process | None = None
        self.actor: Any = None

    def fill(self, process: Process, actor: Any) -> None:
        """The actor lives here from now on."""
        self.process, self.actor = process, actor


class Network:
    """Carries calls."""

    def __init__(self, weather: Weather) -> None:
        self.weather = weather

    def handle(self, place: Place) -> Any:
        """What others call the actor by: `handle.method.remote(...)`."""
        return _Handle(self, place)

    def call(self, place: Place, method: str, body: bytes) -> asyncio.Future[Any]:
        """Send a call; the future is the caller's."""
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if self.weather.breaks():
            self._later(self.weather.delay_s(), _fail, answer, _unavailable())
            if self.weather.breaks():
                return answer
        self._later(self.weather.delay_s(), self._deliver, place, method, body, answer)
        return answer

    def _later(self, delay_s: float, work: Callable[..., None], *args: Any) -> None:
        asyncio.get_running_loop().call_later(delay_s, work, *args, context=OUTSIDE.copy())

    def _deliver(self, place: Place, method: str, body: bytes, answer: asyncio.Future[Any]) -> None:
        process = place.process
        if process is None:
            self._later(NOTICED_S, _fail, answer, _unavailable())
            return
        if process.is_dead:
            self._later(NOTICED_S, _fail, answer, ActorDiedError())
            return
        process.deaths.append(lambda: self._later(NOTICED_S, _fail, answer, ActorDiedError()))
        task = process.spawn(getattr(place.actor, method)(*pickle.loads(body)))
        task.add_done_callback(lambda done: self._reply(done, answer), context=OUTSIDE.copy())

    def _reply(self, task: asyncio.Task[Any], answer: asyncio.Future[Any]) -> None:
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            self._later(self.weather.delay_s(), _fail, answer, error)
        else:
            body = pickle.dumps(task.result())
            self._later(self.weather.delay_s(), _succeed, answer, body)


class _Handle:
    def __init__(self, network: Network, place: Place) -> None:
        self._network = network
        self.place = place

    def __getattr__(self, method: str) -> Any:
        if method.startswith("__"):
            raise AttributeError(method)
        return _Method(self._network, self.place, method)


class _Method:
    def __init__(self, network: Network, place: Place, name: str) -> None:
        self._network, self._place, self._name = network, place, name

    def remote(self, *args: Any) -> asyncio.Future[Any]:
        """Call it; what is given is copied at once."""
        return self._network.call(self._place, self._name, pickle.dumps(args))


def _unavailable() -> ActorUnavailableError:
    return ActorUnavailableError("the call may or may not have arrived", None)


def _fail(answer: asyncio.Future[Any], error: BaseException) -> None:
    if not answer.done():
        answer.set_exception(error)
        # Nobody may be left to hear it.
        answer.exception()


def _succeed(answer: asyncio.Future[Any], body: bytes) -> None:
    if not answer.done():
        answer.set_result(pickle.loads(body))
