"""The installed base over one connection, a TMF637 product a line: loaded from elsewhere, or compared with it.

**Loading.** Consecutive products of one account travel together to the host that keeps it, in the lanes of bulk orders,
and each line is answered when it is stored. Loaded twice, nothing changes. A child that comes before its parent is put
aside until the parent has come: at most `ASIDE_MAX` lines at a time, so memory stays flat; beyond it, and at the end of
the lines, a child without a parent is refused. A parent that was loaded at any time before is found whatever the bound.

**Comparing.** Each line is compared with what is stored, as loading it would; at its end what we have besides is told.
Of the lines that were read nothing is kept but eight bytes of a hash each.
"""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from abc import abstractmethod
from array import array
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

import orjson
import structlog
from aiohttp import web

from actors.envelopes import ImportAssets
from actors.routing import BULK_LANE
from domain.errors import BadDocument, Busy, NotPossibleNow, OrderplanError, ParentUnknown
from domain.ids import account_shard
from domain.installed_base import ENDED_STATUSES, differences, parent_of
from domain.inventory import Asset
from domain.release import CompiledRelease
from gateway.context import Context, context_of, tenant_of, user_of
from gateway.documents import ROOT, Problems, decode_body, kind_of
from gateway.line_service import OPEN_BYTES_MAX, RETRY_S, STILL_S, Content, LineService, serve_lines
from gateway.tmf637 import read_product
from persistence import reads

log = structlog.get_logger(__name__)

TOGETHER_MAX: Final = 50
"""Products of one account in one message."""
ASIDE_MAX: Final = 10_000
"""Children that wait for their parents at a time."""
LOOKED_UP_MAX: Final = 500
"""Products that are read from the database at once."""
_BUCKETS: Final = 256


async def ingest_inventory(request: web.Request) -> web.StreamResponse:
    """POST /v1/inventory:ingest: installed products as newline-delimited JSON, each line answered when it is stored.

    A line holds a TMF637 product. Its answer is `{"line", "id", "result"}` with `imported`, `changed`, `unchanged` or
    `ignored` (it is terminated), or `{"line", "error": {...}}`.
    """
    release = await _newest_release(request)
    service = ProductIngest(context_of(request), tenant_of(request), release, f"person:{user_of(request)}")
    return await serve_lines(request, service)


async def reconcile_inventory(request: web.Request) -> web.StreamResponse:
    """POST /v1/inventory:reconcile: compare a foreign list of installed products, line by line, with ours.

    The answer to a line is `{"line", "id", "result"}` with `same`, `missing` (we do not have it), `different` (with
    `differences`, each `field`, `ours`, `theirs`) or `ignored`; then comes a line without a number for each product
    that only we have: `{"id", "result": "extra", "account", "product"}`.
    """
    release = await _newest_release(request)
    return await serve_lines(request, Reconciliation(context_of(request), tenant_of(request), release))


async def _newest_release(request: web.Request) -> CompiledRelease:
    context, tenant = context_of(request), tenant_of(request)
    release_id = await context.folder.refresh_releases(tenant, context.now())
    if release_id is None:
        raise NotPossibleNow("no catalogue release is published, so products have no specification to belong to")
    return await context.folder.release(tenant, release_id)


class _Products(LineService):
    """Lines that are TMF637 products."""

    def __init__(self, context: Context, tenant: str, release: CompiledRelease) -> None:
        super().__init__(context, tenant)
        self._release = release

    def _hand_on(self, line: int, raw: bytes) -> None:
        product = decode_body(raw)
        if not isinstance(product, dict):
            raise BadDocument(f"a product is a JSON object, not {kind_of(product)}", path=ROOT)
        problems = Problems()
        account, asset = read_product(product, ROOT, self._release, problems)
        problems.raise_if_any()
        assert account is not None
        assert asset is not None
        if asset.status in ENDED_STATUSES:
            self._done(line, asset.asset_id, "ignored")
        else:
            self._product(line, account, asset)

    @abstractmethod
    def _product(self, line: int, account: str, asset: Asset) -> None:
        """Go on with the product of a line."""

    def _done(self, line: int, asset_id: str, result: str, **more: Any) -> None:
        if line in self._open:
            self._close(line)
            self._answer({"line": line, "id": asset_id, "result": result, **more})


class ProductIngest(_Products):
    """Products that are loaded."""

    def __init__(self, context: Context, tenant: str, release: CompiledRelease, actor: str) -> None:
        super().__init__(context, tenant, release)
        self._actor = actor
        self._group: list[tuple[int, Asset]] = []
        """Lines with products of one account, that are sent together."""
        self._account = ""
        self._aside: dict[int, tuple[str, Asset, int]] = {}
        """Children that wait for their parent: account, product and bytes, by line."""
        self._children: dict[str, list[int]] = {}
        """Lines that wait for each parent."""
        self._aside_bytes = 0
        self._has_progress = True
        """Whether anything was stored since those aside were last tried."""

    def _product(self, line: int, account: str, asset: Asset) -> None:
        if self._group and (account != self._account or len(self._group) >= TOGETHER_MAX):
            self._flush()
        if not self._group:
            # At the end of this turn of the loop, whether or not more has come.
            asyncio.get_running_loop().call_soon(self._flush)
        self._account = account
        self._group.append((line, asset))

    def _flush(self) -> None:
        if not self._group:
            return
        group, self._group = self._group, []
        self._send(self._message(self._account, group), group)

    def _message(self, account: str, group: list[tuple[int, Asset]]) -> ImportAssets:
        return ImportAssets(
            shard=account_shard(self._tenant, account, self._context.hosts.shards),
            tenant=self._tenant,
            account=account,
            release_id=self._release.release_id,
            assets=[asset.to_dict() for _, asset in group],
            actor=self._actor,
            cause=uuid.uuid4().hex,
            is_bulk=True,
        )

    def _send(self, envelope: ImportAssets, group: list[tuple[int, Asset]]) -> None:
        if not self.is_over:
            self._context.hosts.post(
                BULK_LANE, envelope.shard, envelope, lambda answer: self._answered(envelope, group, answer)
            )

    def _answered(self, envelope: ImportAssets, group: list[tuple[int, Asset]], answer: Any) -> None:
        if isinstance(answer, Busy) and not self._context.is_draining:
            asyncio.get_running_loop().call_later(RETRY_S, self._send, envelope, group)
            return
        if isinstance(answer, OrderplanError) and len(group) > 1:
            # The commit was refused, for one of them (its id is another account's): each by itself tells which.
            for each in group:
                self._send(self._message(envelope.account, [each]), [each])
            return
        results = [answer] * len(group) if isinstance(answer, OrderplanError) else answer["results"]
        for (line, asset), result in zip(group, results, strict=True):
            if line not in self._open:
                continue
            if isinstance(result, ParentUnknown):
                self._put_aside(line, envelope.account, asset, result)
            elif isinstance(result, OrderplanError):
                self._close(line)
                self._refuse(line, result)
            else:
                self._has_progress = True
                self._done(line, asset.asset_id, result)
                self._try_again(self._children.get(asset.asset_id, ()))
        self._changed.set()

    def _put_aside(self, line: int, account: str, asset: Asset, why: ParentUnknown) -> None:
        size = self._open[line]
        # Not open: else those that wait could keep their parents from being read.
        self._close(line)
        self._room.set()
        self._aside[line] = (account, asset, size)
        self._aside_bytes += size
        self._children.setdefault(why.facts["parent"], []).append(line)
        while len(self._aside) > ASIDE_MAX or self._aside_bytes > OPEN_BYTES_MAX:
            self._refuse_child(next(iter(self._aside)))

    def _take_up(self, line: int) -> tuple[str, Asset, int]:
        account, asset, size = self._aside.pop(line)
        self._aside_bytes -= size
        parent = parent_of(asset)
        assert parent is not None
        self._children[parent].remove(line)
        if not self._children[parent]:
            del self._children[parent]
        return account, asset, size

    def _try_again(self, lines: Iterable[int]) -> None:
        for line in list(lines):
            account, asset, size = self._take_up(line)
            self._open[line] = size
            self._open_bytes += size
            self._product(line, account, asset)

    def _refuse_child(self, line: int) -> None:
        _, asset, _ = self._take_up(line)
        parent = parent_of(asset)
        reason = f"its parent {parent!r} is not installed in its account, and did not come in time"
        mend = f"put the parent into the file, at most {ASIDE_MAX} such children before it"
        self._refuse(line, ParentUnknown(reason, path="productRelationship", mend=mend, parent=parent))

    def _ending(self) -> None:
        # A parent may have been stored while its child was on its way back: each has another try for as long as any of
        # them helps.
        if self._has_progress and not self._context.is_draining:
            self._has_progress = False
            self._try_again(self._aside)
            return
        for line in list(self._aside):
            self._refuse_child(line)


class Reconciliation(_Products):
    """Products that are compared with ours."""

    def __init__(self, context: Context, tenant: str, release: CompiledRelease) -> None:
        super().__init__(context, tenant, release)
        self._asked: list[tuple[int, str, Asset]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._seen = [array("Q") for _ in range(_BUCKETS)]
        """Hashes of the ids that were read, by their first byte."""

    async def serve(self, content: Content, write: Callable[[bytes], Awaitable[None]]) -> None:
        """Compare all lines, then tell what only we have.

        Raises:
            ConnectionError: the client has gone.
            TimeoutError: the client stands still.
        """
        await super().serve(content, write)
        for at, hashes in enumerate(self._seen):
            self._seen[at] = array("Q", sorted(hashes))
            await asyncio.sleep(0)
        after = ""
        while page := await reads.assets_after(self._context.pool, self._tenant, after, LOOKED_UP_MAX):
            after = page[-1]["id"]
            extra = [each for each in page if not self._is_seen(each["id"])]
            if extra:
                async with asyncio.timeout(STILL_S):
                    await write(b"".join(_extra(each) for each in extra))

    def _product(self, line: int, account: str, asset: Asset) -> None:
        hashed = _hash(asset.asset_id)
        self._seen[hashed >> 56].append(hashed)
        if not self._asked:
            asyncio.get_running_loop().call_soon(self._flush)
        self._asked.append((line, account, asset))
        if len(self._asked) >= LOOKED_UP_MAX:
            self._flush()

    def _flush(self) -> None:
        if self._asked:
            asked, self._asked = self._asked, []
            task = asyncio.get_running_loop().create_task(self._compare(asked))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _compare(self, asked: list[tuple[int, str, Asset]]) -> None:
        try:
            ours = await reads.assets_named(
                self._context.pool, self._tenant, [asset.asset_id for _, _, asset in asked]
            )
        except Exception:
            log.exception("products could not be compared", lines=len(asked))
            for line, _, _ in asked:
                if line in self._open:
                    self._close(line)
                    self._refuse(line, Busy("the database could not be asked", mend="compare the list again"))
            return
        for line, account, asset in asked:
            body = ours.get(asset.asset_id)
            if body is None:
                self._done(line, asset.asset_id, "missing")
            elif found := differences(body, account, asset):
                self._done(line, asset.asset_id, "different", differences=found)
            else:
                self._done(line, asset.asset_id, "same")

    def _is_seen(self, asset_id: str) -> bool:
        hashed = _hash(asset_id)
        hashes = self._seen[hashed >> 56]
        at = bisect_left(hashes, hashed)
        return at < len(hashes) and hashes[at] == hashed


def _hash(asset_id: str) -> int:
    return int.from_bytes(hashlib.blake2b(asset_id.encode(), digest_size=8).digest())


def _extra(body: dict[str, Any]) -> bytes:
    told = {"id": body["id"], "result": "extra", "account": body["account"], "product": body["product"]}
    return orjson.dumps(told) + b"\n"
