"""The stand-ins' routes: `/{system}/{operation}` for callouts, and `/_...` for whoever tests with them.

Calls that fail by order (`failNext`, `offline`) have no effect and leave no trace under their key, nor does a payload
that is refused: only what was done is remembered, and answered the same again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import unquote

import orjson
from aiohttp import web

from .answers import ASYNC_PREFIX, answer_of
from .callbacks import Callbacks
from .ledger import Call, CallLog, Effect, Ledger, Ticks, fingerprint_of
from .payloads import SYSTEMS, find_fault

BODY_MAX: Final = 16 * 1024 * 1024
_BEHAVIOUR_MEMBERS: Final = frozenset({"system", "delayMs", "failNext", "status", "offline"})


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How one system behaves from now on."""

    delay_s: float = 0.0
    fail_next: int = 0
    status: int = 503
    is_offline: bool = False

    def as_dict(self) -> dict[str, Any]:
        """The form of `/_behaviour`."""
        return {
            "delayMs": self.delay_s * 1000,
            "failNext": self.fail_next,
            "status": self.status,
            "offline": self.is_offline,
        }


class StandIns:
    """Four systems, their memory and their behaviour."""

    def __init__(
        self,
        *,
        seed: int = 0,
        delay_s: float = 0.0,
        log: CallLog | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self.seed = seed
        self._delay_s = delay_s
        self._log = log
        self._clock = clock
        self.sleep = sleep
        self._ticks = Ticks()
        self.ledger = Ledger(log)
        self.callbacks = Callbacks(sleep)
        self.behaviours = dict.fromkeys(SYSTEMS, Behaviour(delay_s=delay_s))

    def now(self) -> datetime:
        """The present, later than every present before."""
        return self._ticks.after(self._clock())

    async def reset(self) -> None:
        """Forget calls, keys and behaviour; callbacks under way are given up. Calls still open are forgotten too."""
        await self.callbacks.stop()
        self.ledger = Ledger(self._log)
        self.callbacks = Callbacks(self.sleep)
        self.behaviours = dict.fromkeys(SYSTEMS, Behaviour(delay_s=self._delay_s))

    def takes_failure(self, system: str) -> int | None:
        """The status that this call fails with by order, if it does; counts it."""
        behaviour = self.behaviours[system]
        if behaviour.fail_next <= 0:
            return None
        self.behaviours[system] = replace(behaviour, fail_next=behaviour.fail_next - 1)
        return behaviour.status


STANDINS: Final = web.AppKey("standins", StandIns)
Answer = tuple[int, dict[str, Any]]


async def call_system(request: web.Request) -> web.StreamResponse:
    """POST /{system}/{operation}: one callout."""
    standins = request.app[STANDINS]
    system, operation = request.match_info["system"], request.match_info["operation"]
    if system not in standins.behaviours:
        return _json(404, {"reason": f"there is no system {system}; there are {', '.join(SYSTEMS)}"})
    ledger = standins.ledger
    call = Call(
        system=system,
        operation=operation,
        key=_header(request, "Idempotency-Key"),
        order=_header(request, "X-Order-Id"),
        item=_header(request, "X-Item"),
        started_at=standins.now(),
    )
    answer: dict[str, Any] = {}
    ledger.open(call)
    try:
        body = await request.read()
        if not standins.behaviours[system].is_offline:
            call.status, answer = await _answer(standins, ledger, request, call, body)
    finally:
        call.ended_at = standins.now()
        ledger.close(call)
    if call.status == 0:
        # Offline: the caller sees a connection that ends without an answer.
        assert request.transport is not None
        request.transport.abort()
    return _json(call.status or 503, answer)


async def _answer(standins: StandIns, ledger: Ledger, request: web.Request, call: Call, body: bytes) -> Answer:
    system = call.system
    delay_s = standins.behaviours[system].delay_s
    try:
        call.payload = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        return 400, {"reason": f"the body is no JSON: {error}", "path": "$"}
    named_order = call.order
    if isinstance(call.payload, dict):
        call.order = _text(call.payload.get("orderId")) or call.order
        call.item = _text(call.payload.get("item")) or call.item
    failing = standins.takes_failure(system)
    if failing is not None:
        await _wait(standins, delay_s)
        return failing, {"reason": f"{system} fails by order of /_behaviour"}
    if not call.key:
        return 400, {"reason": "must name the task, so that a repeat has one effect", "path": "Idempotency-Key"}
    fingerprint = fingerprint_of(call.operation, call.payload)
    known = ledger.effects[system].get(call.key)
    if known is not None:
        return await _repeated(standins, call, known, fingerprint, request.headers.get("X-Callback-Url"))
    if fault := find_fault(system, call.operation, call.payload, named_order):
        return 422, {"reason": fault.reason, "path": fault.path}
    is_async = system == "workforce" and call.operation.startswith(ASYNC_PREFIX)
    callback_url = request.headers.get("X-Callback-Url")
    if is_async and not callback_url:
        return 422, {"reason": f"must say where the answer of {call.operation} goes", "path": "X-Callback-Url"}
    if is_async and standins.callbacks.is_full:
        return 503, {"reason": "too many callbacks are under way"}
    effect = ledger.effects[system][call.key] = Effect(fingerprint)
    try:
        if not is_async:
            await _wait(standins, delay_s)
        reference = ledger.next_reference(system)
        effect.answer = answer_of(system, standins.seed, call.key, call.payload, reference)
        effect.status = 202 if is_async else 200
        if is_async and callback_url:
            _call_back(standins, effect, callback_url, delay_s)
            return effect.status, {"reference": reference}
        return effect.status, effect.answer
    finally:
        if effect.answer is None:
            del ledger.effects[system][call.key]
        effect.is_settled.set()


async def _repeated(
    standins: StandIns, call: Call, known: Effect, fingerprint: bytes, callback_url: str | None
) -> Answer:
    """What a key is answered that was used before; while the first call is open, its answer is waited for."""
    if known.fingerprint != fingerprint:
        return 409, {"reason": "the key was used before, with another body", "path": "Idempotency-Key"}
    await known.is_settled.wait()
    if known.answer is None:
        return 503, {"reason": "the first call with this key was given up"}
    call.is_repeat = True
    if known.status != 202:
        return known.status, known.answer
    if known.callback == "lost" and callback_url:
        # The caller asks again because it was never told.
        _call_back(standins, known, callback_url, 0.0)
    return known.status, {"reference": known.answer["reference"]}


def _call_back(standins: StandIns, effect: Effect, url: str, delay_s: float) -> None:
    assert effect.answer is not None
    body = {name: value for name, value in effect.answer.items() if name != "reference"}
    standins.callbacks.start(effect, url, {**body, "outcome": "completed"}, delay_s)


async def _wait(standins: StandIns, delay_s: float) -> None:
    if delay_s > 0:
        await standins.sleep(delay_s)


async def list_calls(request: web.Request) -> web.Response:
    """GET /_calls?system=&order=&since=: the calls, in order of their end; `since` is an `at` of the log."""
    query = request.query
    try:
        since = datetime.fromisoformat(query["since"]) if query.get("since") else None
    except ValueError:
        return _json(400, {"reason": "must be an instant such as 2026-01-31T12:00:00Z", "path": "since"})
    if since is not None and since.tzinfo is None:
        return _json(400, {"reason": "must have a time zone", "path": "since"})
    return _json(200, list(request.app[STANDINS].ledger.calls(query.get("system"), query.get("order"), since)))


async def show_stats(request: web.Request) -> web.Response:
    """GET /_stats: calls, distinct keys, repeats, effects and most open at once, in all and per system."""
    standins = request.app[STANDINS]
    return _json(200, {**standins.ledger.stats(), "callbacks": standins.callbacks.stats()})


async def set_behaviour(request: web.Request) -> web.Response:
    """POST /_behaviour: change what is named, of one system or of all (`*`); answers with what holds now."""
    standins = request.app[STANDINS]
    try:
        wanted = orjson.loads(await request.read())
        name, change = _change_of(wanted)
    except ValueError as error:
        return _json(400, {"reason": str(error)})
    for system in SYSTEMS if name == "*" else (name,):
        standins.behaviours[system] = replace(standins.behaviours[system], **change)
    return _json(200, {system: behaviour.as_dict() for system, behaviour in standins.behaviours.items()})


def _change_of(wanted: Any) -> tuple[str, dict[str, Any]]:
    """System and changed fields.

    Raises:
        ValueError: the request is wrong.
    """
    if not isinstance(wanted, dict) or wanted.keys() - _BEHAVIOUR_MEMBERS:
        raise ValueError(f"must be an object of {', '.join(sorted(_BEHAVIOUR_MEMBERS))}")
    name = wanted.get("system", "*")
    if name not in (*SYSTEMS, "*"):
        raise ValueError(f"system must be one of {', '.join(SYSTEMS)}, or * for all")
    change: dict[str, Any] = {}
    if "delayMs" in wanted:
        change["delay_s"] = _number(wanted, "delayMs", 0, 3_600_000) / 1000
    if "failNext" in wanted:
        change["fail_next"] = int(_number(wanted, "failNext", 0, 1_000_000_000))
    if "status" in wanted:
        change["status"] = int(_number(wanted, "status", 400, 599))
    if "offline" in wanted:
        if not isinstance(wanted["offline"], bool):
            raise ValueError("offline must be true or false")
        change["is_offline"] = wanted["offline"]
    return name, change


def _number(wanted: dict[str, Any], name: str, low: int, high: int) -> float:
    value = wanted[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise ValueError(f"{name} must be a number from {low} to {high}")
    return value


async def reset(request: web.Request) -> web.Response:
    """POST /_reset: forget everything, behave as at the start; the log file keeps what it has."""
    await request.app[STANDINS].reset()
    return _json(200, {})


ROUTES: Final = [
    web.get("/_calls", list_calls),
    web.get("/_stats", show_stats),
    web.post("/_behaviour", set_behaviour),
    web.post("/_reset", reset),
    web.post("/{system}/{operation:[^/]*}", call_system),
]


def make_app(standins: StandIns) -> web.Application:
    """The application around the systems; they end with it."""
    app = web.Application(client_max_size=BODY_MAX)
    app[STANDINS] = standins
    app.add_routes(ROUTES)

    async def stop(_app: web.Application) -> None:
        await standins.callbacks.stop()

    app.on_cleanup.append(stop)
    return app


def _header(request: web.Request, name: str) -> str | None:
    """The header's value with its percent-encoding undone; bytes that are no UTF-8 become question marks."""
    value = request.headers.get(name)
    return unquote(value).encode(errors="replace").decode() if value is not None else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _json(status: int, document: Any) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(document), content_type="application/json")
