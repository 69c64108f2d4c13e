"""A proxy before the stand-ins that can behave as badly as any remote: it hangs, drips, answers rubbish, cuts off.

Whatever it does to the answer, the stand-in behind it has done the work and logged it (half of the hanging calls, drawn
from the seed, never reach it). So what is tried again without need, or under another key, shows in the stand-ins' log.
Callbacks pass through it too, and may be held back or delivered twice.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from typing import Any, Final, Literal

import aiohttp
from aiohttp import web

Mode = Literal["hang", "drip", "garbage", "big", "cut"]
CallbackMode = Literal["twice", "late"]
BIG_BYTES: Final = 10 * 1024 * 1024
DRIP_S: Final = 0.2
BODY_MAX: Final = 16 * 1024 * 1024
_PASSED_ON: Final = ("Content-Type", "Idempotency-Key", "X-Order-Id", "X-Item")


class Rogue:
    """Serves `/{system}/{operation}` by way of the stand-ins. Use as an async context manager."""

    def __init__(self, standins: str, seed: int) -> None:
        self._standins = standins
        self._random = random.Random(seed)
        self._lifted = asyncio.Event()
        self._lifted.set()
        self._modes: dict[str, Mode] = {}
        self._coming: tuple[int, Mode] | None = None
        self._callback_mode: CallbackMode | None = None
        self._runner: web.AppRunner | None = None
        self._session: aiohttp.ClientSession | None = None
        self._sendings: set[asyncio.Task[int]] = set()
        self.mischief: Counter[str] = Counter()
        """How often it did what."""
        self.told_completed: set[str] = set()
        """Orders that the listener at `/channel` was told to be completed."""
        self.url = ""

    async def __aenter__(self) -> Rogue:
        # The stand-ins close an idle connection that is used again in the same moment: none is kept.
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, force_close=True))
        app = web.Application(client_max_size=BODY_MAX)
        app.router.add_post("/callback", self._callback)
        app.router.add_post("/channel", self._channel)
        app.router.add_post("/{system}/{operation}", self._call)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self.behave_well()
        assert self._runner is not None
        assert self._session is not None
        await self._runner.cleanup()
        await asyncio.gather(*self._sendings, return_exceptions=True)
        await self._session.close()

    def seed(self, seed: int) -> None:
        """Draw from this seed from now on."""
        self._random = random.Random(seed)

    def misbehave(self, passed: int, mode: Mode) -> None:
        """So many calls pass; from the next one on its system does this with every call.

        A system that is named may have had all its calls already, if orders go their way faster than they come.
        """
        self._lifted.clear()
        self._coming = (passed, mode)

    def misbehave_in_callbacks(self, mode: CallbackMode) -> None:
        """From now on callbacks come twice, or not before it behaves well again."""
        self._lifted.clear()
        self._callback_mode = mode

    def behave_well(self) -> None:
        """Pass everything on again; what was held back goes on."""
        self._coming = None
        self._modes.clear()
        self._callback_mode = None
        self._lifted.set()

    async def _call(self, request: web.Request) -> web.StreamResponse:
        system = request.match_info["system"]
        body = await request.read()
        mode = self._mode_of(system)
        if mode is not None:
            self.mischief[mode] += 1
        if mode == "hang" and self._random.random() < 0.5:
            return await self._never(request)
        headers = {name: request.headers[name] for name in _PASSED_ON if name in request.headers}
        if callback := request.headers.get("X-Callback-Url"):
            headers["X-Callback-Url"] = f"{self.url}/callback?to={callback}"
        assert self._session is not None
        url = f"{self._standins}/{system}/{request.match_info['operation']}"
        async with self._session.post(url, data=body, headers=headers) as answer:
            status, answered = answer.status, await answer.read()
        match mode:
            case "hang":
                return await self._never(request)
            case "drip":
                return await self._drip(request, answered)
            case "garbage":
                return await self._garbage(request)
            case "big":
                return await self._big(request)
            case "cut":
                return await self._cut(request, answered)
            case None:
                return web.Response(status=status, body=answered, content_type="application/json")

    def _mode_of(self, system: str) -> Mode | None:
        """What the system does with the call that has just come."""
        if self._coming is not None:
            passed, mode = self._coming
            if passed > 0:
                self._coming = (passed - 1, mode)
            else:
                self._coming = None
                self._modes[system] = mode
        return self._modes.get(system)

    async def _never(self, request: web.Request) -> web.StreamResponse:
        """No answer until it behaves well again; then the connection goes."""
        await self._lifted.wait()
        return _aborted(request)

    async def _drip(self, request: web.Request, body: bytes) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        response.content_length = len(body)
        try:
            await response.prepare(request)
            for byte in body:
                await response.write(bytes([byte]))
                await asyncio.sleep(DRIP_S)
        except OSError:
            # The caller has had enough.
            return _aborted(request)
        return response

    async def _garbage(self, request: web.Request) -> web.StreamResponse:
        if self._random.random() < 0.5:
            return web.Response(body=self._random.randbytes(500), content_type="application/json")
        assert request.transport is not None
        request.transport.write(self._random.randbytes(500) + b"\r\n\r\n")
        return _aborted(request)

    async def _big(self, request: web.Request) -> web.StreamResponse:
        body = json.dumps({"attributes": {}, "reference": "x" * BIG_BYTES}).encode()
        if self._random.random() < 0.5:
            return web.Response(body=body, content_type="application/json")
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        response.enable_chunked_encoding()
        try:
            await response.prepare(request)
            for start in range(0, len(body), 1 << 16):
                await response.write(body[start : start + (1 << 16)])
        except OSError:
            return _aborted(request)
        return response

    async def _cut(self, request: web.Request, body: bytes) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        response.content_length = len(body)
        try:
            await response.prepare(request)
            await response.write(body[: len(body) // 2])
        except OSError:
            return _aborted(request)
        return _aborted(request)

    async def _callback(self, request: web.Request) -> web.Response:
        body = await request.read()
        mode, to = self._callback_mode, request.query["to"]
        if mode is not None:
            self.mischief[f"callback {mode}"] += 1
        if mode == "late":
            await self._lifted.wait()
        copies = 2 if mode == "twice" else 1
        # On their own: a stand-in that has lost its patience must not take a callback back.
        sendings = [asyncio.create_task(self._send(to, body)) for _ in range(copies)]
        self._sendings.update(sendings)
        for each in sendings:
            each.add_done_callback(self._sendings.discard)
        statuses = await asyncio.gather(*sendings)
        if mode == "twice":
            statuses.append(await self._send(to, body))
            self.mischief["callback repeats refused"] += sum(status == 409 for status in statuses)
        return web.Response(status=min(statuses))

    async def _channel(self, request: web.Request) -> web.Response:
        order = (await request.json())["event"]["productOrder"]
        if order.get("state") == "completed":
            self.told_completed.add(order["id"])
        return web.Response(status=204)

    async def _send(self, to: str, body: bytes) -> int:
        assert self._session is not None
        try:
            headers = {"Content-Type": "application/json"}
            timeout = aiohttp.ClientTimeout(total=30)
            async with self._session.post(to, data=body, headers=headers, timeout=timeout) as answer:
                return answer.status
        except (aiohttp.ClientError, TimeoutError):
            return 503


def _aborted(request: web.Request) -> web.StreamResponse:
    """Ends the connection without another word."""
    if request.transport is not None:
        request.transport.abort()
    return _Nothing()


class _Nothing(web.Response):
    """What a handler gives back when the connection is gone: nothing is written."""

    async def prepare(self, request: web.BaseRequest) -> Any:
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        return None
