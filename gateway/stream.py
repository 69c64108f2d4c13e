"""`/v1/stream`: every fact as it is committed, as server-sent events that a client resumes without a miss.

One reader for all clients of a gateway follows the feed of facts and fans each batch out; a client that resumes reads
from the database what it has missed, in pages, and then joins. Where it stands is a vector of offsets, one a shard: the
`id:` of the last event of each part. What arrives twice after a resume has the same `id` in its data. A place after
which facts have left for the archive, or were erased, is gone: who resumes there is told, instead of missing them.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, TypeVar

import orjson
import structlog
from aiohttp import web

from domain.errors import BadDocument, Busy, StreamGone
from domain.facts import VERSIONS
from gateway.context import Context, context_of, tenant_of
from gateway.frames import NAMED_MAX, Batch, FrameClient, send_frames
from gateway.views import fact_view
from persistence import reads
from persistence.database import is_unavailable
from persistence.feed import Feed
from persistence.readstore import StoredFact

log = structlog.get_logger(__name__)

POLL_S: Final = 0.2
PAGE: Final = 200
"""Facts of one shard in one batch."""
PART: Final = 50
"""Events between two places to resume at: what a break makes come again."""
WAITING_MAX: Final = 20_000
"""Facts that may wait for one client; a slower one is cut off and resumes."""
CLIENTS_MAX: Final = 200
HEARTBEAT_S: Final = 15.0
LOOK_S: Final = 1.0
"""How soon one that has gone gives its place back: to a quiet one nothing is written by which that would be noticed."""
VECTOR_LENGTH_MAX: Final = 8_000
# A proxy that collects answers would hold events back.
_HEADERS: Final = {"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}

Vector = dict[int, int]


def encode_vector(offsets: Mapping[int, int]) -> str:
    """The text of a vector: `shard.offset` in hexadecimal, joined by `-`; shards without facts are left out."""
    return "-".join(f"{shard:x}.{offset:x}" for shard, offset in sorted(offsets.items()) if offset) or "0.0"


def decode_vector(text: str) -> Vector:
    """The inverse of `encode_vector`.

    Raises:
        BadDocument: the text is none.
    """
    found: Vector = {}
    try:
        if len(text) > VECTOR_LENGTH_MAX:
            raise ValueError(text)
        for part in text.split("-"):
            shard, offset = (int(each, 16) for each in part.split("."))
            if not (0 <= shard < 1 << 31 and 0 <= offset < 1 << 63) or shard in found:
                raise ValueError(part)
            found[shard] = offset
    except ValueError:
        raise BadDocument(
            "is no place in the stream", path="Last-Event-ID", mend="send the id of an event as it came, or none"
        ) from None
    return found


@dataclass
class _Event:
    """One fact; its text is made when somebody wants it whole."""

    fact: StoredFact
    account: str | None

    @cached_property
    def text(self) -> bytes:
        """The event as it is sent, without its place."""
        order_id = self.fact.order_id if self.fact.order_id.startswith("o") else None
        shown = fact_view(self.fact) | {"orderId": order_id, "account": self.account}
        return b"event: fact\ndata: " + orjson.dumps(shown) + b"\n"


@dataclass(slots=True, eq=False)
class Client:
    """One listener: what waits for it, and where the reader stood when it joined."""

    joined_at: Vector
    waiting: deque[list[_Event]] = field(default_factory=deque)
    facts: int = 0
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    is_cut_off: bool = False

    def offer(self, batch: list[_Event]) -> None:
        """Take a batch, or be cut off."""
        if self.facts + len(batch) > WAITING_MAX:
            self.is_cut_off = True
        else:
            self.waiting.append(batch)
            self.facts += len(batch)
        self.wake.set()


Joined = TypeVar("Joined", Client, FrameClient)


class Fanout:
    """The reader of one gateway; at work only while somebody listens."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._feed = Feed(context.pool, context.config.tenant)
        self._clients: set[Client | FrameClient] = set()
        self._at: Vector = {}
        self._reading: asyncio.Task[None] | None = None
        self._joining = asyncio.Lock()
        self.sent = 0

    def __len__(self) -> int:
        return len(self._clients)

    async def join(self) -> Client:
        """A new client, which gets every batch from now on.

        Raises:
            Busy: too many listen already.
        """
        return await self._join(lambda: Client(dict(self._at)))

    async def join_frames(self) -> FrameClient:
        """As `join`, for a client that wants frames."""
        return await self._join(FrameClient)

    async def _join(self, make: Callable[[], Joined]) -> Joined:
        if len(self._clients) >= CLIENTS_MAX:
            raise Busy("too many clients listen to the stream of this gateway", retryAfterS=30)
        async with self._joining:
            if self._reading is None or self._reading.done():
                self._at = await self._feed.heads()
                self._reading = asyncio.get_running_loop().create_task(self._read())
            client = make()
            self._clients.add(client)
        return client

    def leave(self, client: Client | FrameClient) -> None:
        """The client has gone; the last one lets the reader rest."""
        self._clients.discard(client)
        if not self._clients and self._reading is not None:
            self._reading.cancel()
            self._reading = None

    def close(self) -> None:
        """End every stream: the gateway stops."""
        for client in list(self._clients):
            client.is_cut_off = True
            client.wake.set()

    async def events_after(self, offsets: Vector, named_max: int | None = None) -> Batch:
        """The next events after these offsets; empty when there are none. Accounts are known of the first so many."""
        facts = await self._feed.facts_after(offsets, PAGE)
        accounts = await reads.accounts_of(self._context.pool, {fact.order_id for fact in facts[:named_max]})
        return Batch(_event(fact, accounts) for fact in facts)

    async def is_gone(self, offsets: Vector) -> bool:
        """Whether facts after these offsets have left for the archive."""
        moved = await self._feed.archived_to()
        return any(offsets.get(shard, 0) < offset for shard, offset in moved.items())

    async def _read(self) -> None:
        # Polled too often to be as far behind as what the archive may take, which ended an hour ago at least.
        while True:
            try:
                batch = await self._next()
            except Exception as error:
                if not is_unavailable(error):
                    log.exception("the stream of facts cannot be read; tried again")
                batch = Batch()
            for event in batch:
                self._at[event.fact.shard] = event.fact.offset
            if batch:
                for client in self._clients:
                    client.offer(batch)
            else:
                await asyncio.sleep(POLL_S)

    async def _next(self) -> Batch:
        wanted = self._wants_all()
        batch = await self.events_after(self._at, None if wanted else NAMED_MAX)
        # Somebody who wants all of each event may have come meanwhile.
        return batch if wanted or not self._wants_all() else await self.events_after(self._at)

    def _wants_all(self) -> bool:
        return any(isinstance(client, Client) for client in self._clients)


def _event(fact: StoredFact, accounts: Mapping[str, str | None]) -> _Event:
    is_order = fact.order_id.startswith("o")
    return _Event(fact, accounts.get(fact.order_id) if is_order else fact.payload.get("account"))


@dataclass(frozen=True, slots=True)
class Filter:
    """What a client wants to hear; None: everything."""

    order_id: str | None = None
    account: str | None = None
    kinds: frozenset[str] | None = None

    def passes(self, event: _Event) -> bool:
        """Whether the client wants this one."""
        return (
            (self.order_id is None or event.fact.order_id == self.order_id)
            and (self.account is None or event.account == self.account)
            and (self.kinds is None or event.fact.kind in self.kinds)
        )


def read_filter(query: Mapping[str, str]) -> Filter:
    """The filter of a request.

    Raises:
        BadDocument: a parameter is not known, or names a kind of fact that there is not.
    """
    unknown = set(query) - {"order", "account", "kinds", "lastEventId"}
    if unknown:
        raise BadDocument("is no parameter of the stream", path=sorted(unknown)[0], mend="use order, account, kinds")
    kinds = frozenset(each.strip() for each in query["kinds"].split(",")) if "kinds" in query else None
    for kind in sorted(kinds or ()):
        if kind not in VERSIONS:
            raise BadDocument(f"{kind!r} is no kind of fact", path="kinds", mend=f"kinds are {', '.join(VERSIONS)}")
    return Filter(query.get("order"), query.get("account"), kinds)


FANOUT: Final = web.AppKey("fanout", Fanout)


def open_fanout(app: web.Application, context: Context) -> None:
    """Give the application its reader, which ends with it."""
    app[FANOUT] = Fanout(context)

    async def close(_app: web.Application) -> None:
        app[FANOUT].close()

    app.on_shutdown.append(close)


async def get_stream(request: web.Request) -> web.StreamResponse:
    """GET /v1/stream: facts as they are committed, as server-sent events.

    `?order=`, `?account=` and `?kinds=` choose; `Last-Event-ID` resumes, without it the stream begins now. Too far back
    is 410 (`streamGone`). With `?frames=true` four events a second at most, `frame`: `counts` of all facts by their
    kinds, the first of them as `facts` without payload, and how many `more` there were; these begin now.
    """
    assert tenant_of(request) == context_of(request).config.tenant
    if "frames" in request.query:
        return await _get_frames(request)
    wanted = read_filter(request.query)
    fanout = request.app[FANOUT]
    given = request.headers.get("Last-Event-ID") or request.query.get("lastEventId")
    resumed = decode_vector(given) if given else None
    client = await fanout.join()
    try:
        at = client.joined_at if resumed is None else _resumed_at(resumed, client.joined_at)
        if resumed is not None and await fanout.is_gone(at):
            raise StreamGone(
                "facts after this place have been moved to the archive, or erased",
                path="Last-Event-ID",
                mend="begin anew without it, and read what you follow: /v1/orders/{id} and its /facts have everything",
            )
        response = web.StreamResponse(headers=_HEADERS)
        await response.prepare(request)
        try:
            await _serve(request, response, fanout, client, wanted, dict(at))
        except Exception as error:
            # The client comes back by itself, and resumes.
            if not (isinstance(error, ConnectionError) or is_unavailable(error)):
                raise
        return response
    finally:
        fanout.leave(client)


async def _get_frames(request: web.Request) -> web.StreamResponse:
    if dict(request.query) != {"frames": "true"}:
        raise BadDocument("is true, and stands alone", path="frames", mend="leave the other parameters out")
    fanout = request.app[FANOUT]
    client = await fanout.join_frames()
    try:
        response = web.StreamResponse(headers=_HEADERS)
        await response.prepare(request)
        try:
            await response.write(b": orderplan\n\n")
            await send_frames(client, response.write, heartbeat_s=HEARTBEAT_S)
        except ConnectionError:
            log.debug("a client of the stream has gone")
        return response
    finally:
        fanout.leave(client)


def _resumed_at(resumed: Vector, joined_at: Vector) -> Vector:
    for shard, offset in resumed.items():
        if offset > joined_at.get(shard, -1):
            raise BadDocument(
                "names a place that the stream has not come to", path="Last-Event-ID", mend="is it of another server?"
            )
    return {shard: resumed.get(shard, 0) for shard in joined_at}


async def _serve(
    request: web.Request, response: web.StreamResponse, fanout: Fanout, client: Client, wanted: Filter, at: Vector
) -> None:
    """Send what the client has missed since `at`, then what comes."""
    await response.write(f": orderplan\nid: {encode_vector(at)}\n\n".encode())
    while any(at[shard] < offset for shard, offset in client.joined_at.items()):
        missed = [each for each in await fanout.events_after(at) if _is_before(each, client.joined_at)]
        # Asked after reading: of what the archive took while this client caught up, the page may lack a part.
        if await fanout.is_gone(at):
            client.is_cut_off = True
            break
        if not missed:
            break
        await _send(response, fanout, missed, wanted, at)
    at.update({shard: max(at[shard], offset) for shard, offset in client.joined_at.items()})
    quiet_s = 0.0
    while not client.is_cut_off:
        while client.waiting and not client.is_cut_off:
            batch = client.waiting.popleft()
            client.facts -= len(batch)
            await _send(response, fanout, batch, wanted, at)
        client.wake.clear()
        if client.waiting or client.is_cut_off:
            continue
        try:
            async with asyncio.timeout(LOOK_S):
                await client.wake.wait()
        except TimeoutError:
            if request.transport is None or request.transport.is_closing():
                return
            quiet_s += LOOK_S
            if quiet_s < HEARTBEAT_S:
                continue
            quiet_s = 0.0
            # The id goes with it: whoever hears little must not read everything again when he comes back.
            await response.write(f": still here\nid: {encode_vector(at)}\n\n".encode())
    await response.write(b": cut off, resume with Last-Event-ID\n\n")


def _is_before(event: _Event, joined_at: Vector) -> bool:
    return event.fact.offset <= joined_at.get(event.fact.shard, 0)


async def _send(
    response: web.StreamResponse, fanout: Fanout, batch: Sequence[_Event], wanted: Filter, at: Vector
) -> None:
    """Send a batch in parts, the last event of each of which carries the place in the stream."""
    for start in range(0, len(batch), PART):
        part = batch[start : start + PART]
        passed = [event.text for event in part if wanted.passes(event)]
        for event in part:
            at[event.fact.shard] = event.fact.offset
        if passed:
            fanout.sent += len(passed)
            await response.write(b"\n".join(passed) + f"id: {encode_vector(at)}\n\n".encode())
