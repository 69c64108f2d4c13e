"""Memory twins of what speaks SQL: ownership, store, journal, vault; the journal keeps the contract of the real one."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import orjson

from domain.errors import NotFound
from domain.lineup import Lineup
from domain.related import RelatedWaits, Wait
from domain.sealing import ENCRYPTED, SEALED, is_encrypted, is_sealed
from persistence.incarnations import Assignment, Incarnation
from persistence.journal import CommitUnknown
from persistence.readstore import StoredFact
from persistence.rows import (
    Commit,
    FactRow,
    KnownKey,
    OrderRow,
    OwnedShard,
    SealedRow,
    Unfinished,
)
from persistence.watched import Watched
from tests.simulation.database import MemoryDatabase, Session

FENCE_ATTEMPTS_MAX: Final = 5


class MemoryOwnership:
    """Twin of `persistence.incarnations.Ownership`."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database

    async def shard_count(self) -> int:
        return int(await self._database.ask(lambda: self._database.shared))

    async def assignments(self) -> list[Assignment]:
        database = self._database

        def read() -> list[Assignment]:
            rows = []
            for number, row in database.shards.items():
                owner = database.incarnations.get(row.incarnation_id or "")
                has_own_host = owner is not None and owner.state == "living" and owner.dedicated_shard == number
                rows.append(Assignment(number, row.incarnation_id, row.version, row.order_id, has_own_host))
            return rows

        return list(await database.ask(read))

    async def living(self) -> list[Incarnation]:
        database = self._database

        def read() -> list[Incarnation]:
            now = database.clock()
            rows = [
                Incarnation(
                    name,
                    row.epoch,
                    row.state,
                    row.started_at,
                    (now - row.heartbeat_at).total_seconds(),
                    row.dedicated_shard,
                )
                for name, row in database.incarnations.items()
                if row.state == "living"
            ]
            return sorted(rows, key=lambda each: (each.started_at, each.incarnation_id))

        return list(await database.ask(read))

    async def fence(self, incarnation_id: str) -> bool:
        database = self._database
        for attempt in range(FENCE_ATTEMPTS_MAX):
            await database.ask(lambda: _terminate(database, incarnation_id))
            try:
                return bool(await database.ask(lambda: database.fence(incarnation_id)))
            except TimeoutError:
                if attempt == FENCE_ATTEMPTS_MAX - 1:
                    raise
        raise AssertionError("the last attempt answers or raises")

    async def reassign(self, wanted: Mapping[int, tuple[str | None, str]]) -> int:
        return int(await self._database.ask(lambda: self._database.reassign(wanted)))


def _terminate(database: MemoryDatabase, incarnation_id: str) -> None:
    row = database.incarnations.get(incarnation_id)
    if row is not None:
        database.terminate(row.session)


class MemoryStore:
    """Twin of `persistence.readstore.ReadStore`."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database

    async def facts_of(self, order_ids: Iterable[str]) -> dict[str, list[StoredFact]]:
        wanted = list(order_ids)
        database = self._database
        found = await database.ask(lambda: {each: list(database.facts_of.get(each, ())) for each in wanted})
        return {order_id: [stored(row) for row in rows] for order_id, rows in found.items()}

    async def template(self, tenant: str, template_id: str) -> dict[str, Any] | None:
        body = await self._database.ask(lambda: self._database.templates.get((tenant, template_id)))
        return dict(orjson.loads(body)) if body is not None else None

    async def release_body(self, tenant: str, release_id: str) -> dict[str, Any] | None:
        releases = await self._database.ask(lambda: dict(self._database.releases))
        found: dict[str, Any] | None = releases.get(release_id)
        return found

    async def lineup(self, tenant: str, now: datetime) -> Lineup:
        releases = await self._database.ask(lambda: list(self._database.releases))
        return Lineup(releases[-1][0] if releases else None)


def stored(row: FactRow) -> StoredFact:
    """A row as it is read back."""
    payload = orjson.loads(row.payload) if row.payload is not None else {}
    return StoredFact(
        row.shard, row.offset, row.order_id, row.item, row.kind, row.v, row.at, row.release_id, row.actor, row.cause,
        payload,
    )  # fmt: skip


class MemoryJournal(MemoryStore):
    """Twin of `persistence.journal.Journal`."""

    def __init__(self, database: MemoryDatabase, incarnation_id: str, *, dedicated_shard: int | None = None) -> None:
        super().__init__(database)
        self.incarnation_id = incarnation_id
        self.epoch = 0
        self._dedicated_shard = dedicated_shard
        self._session: Session | None = None

    async def open(self) -> None:
        """Register the incarnation as living, with epoch 1."""
        database = self._database
        session = database.open_session(self.incarnation_id)
        await database.ask(
            lambda: database.put_incarnation(self.incarnation_id, session, self._dedicated_shard), session
        )
        self._session, self.epoch = session, 1

    async def close(self) -> None:
        """Mark the incarnation stopped, if it still is ours."""
        database = self._database

        def stop() -> None:
            row = database.incarnations[self.incarnation_id]
            if row.state == "living" and row.epoch == self.epoch:
                row.state = "stopped"

        await database.ask(stop)
        self.abandon()

    def abandon(self) -> None:
        if self._session is not None:
            self._database.terminate(self._session)

    async def commit(self, commit: Commit) -> None:
        session = self._session
        if session is None or not session.is_open:
            raise CommitUnknown("there is no connection")
        database = self._database
        try:
            await database.ask(lambda: database.lock(session, self.incarnation_id, self.epoch), session)
            await database.ask(lambda: database.stage(session, commit), session)
            await database.ask(lambda: database.commit(session), session)
        except OSError as error:
            # Nothing more is sent on it; what was sent may yet arrive.
            self._session = None
            raise CommitUnknown(f"the commit was not heard: {type(error).__name__}") from error

    async def erase(self, erasure: Any, destroy: Any, now: datetime) -> dict[str, int]:
        raise AssertionError("no account is erased in simulations")

    async def raise_epoch(self) -> None:
        database = self._database
        session = database.open_session(self.incarnation_id)
        try:
            await database.ask(lambda: _terminate(database, self.incarnation_id))
            epoch = await database.ask(lambda: database.raise_own_epoch(self.incarnation_id, session), session)
        except OSError as error:
            raise CommitUnknown(f"the own epoch could not be raised: {error!r}") from error
        self.epoch, self._session = epoch, session

    async def heads(self, shards: Iterable[int]) -> dict[int, int]:
        wanted = list(shards)
        database = self._database
        return dict(await database.ask(lambda: {shard: len(database.facts[shard]) for shard in wanted}))

    async def owned_shards(self) -> dict[int, OwnedShard]:
        database = self._database

        def read() -> dict[int, OwnedShard]:
            return {
                number: OwnedShard(number, row.version, row.is_dedicated, row.order_id)
                for number, row in database.shards.items()
                if row.incarnation_id == self.incarnation_id
            }

        return dict(await database.ask(read))

    async def unfinished(self, shards: Iterable[int]) -> Unfinished:
        wanted = set(shards)
        rows = await self._rows(lambda row: row.shard in wanted and (row.active or row.timer_at is not None))
        timers = [(row.order_id, row.timer_at) for row in rows if row.timer_at is not None]
        return Unfinished([row.order_id for row in rows if row.active], timers)

    async def unshredded(self, shards: Iterable[int]) -> list[str]:
        wanted = set(shards)
        rows = await self._rows(lambda row: row.shard in wanted and row.sealed and row.ended_at is not None)
        return [row.order_id for row in rows]

    async def watched(self, shards: Sequence[int], before: datetime, after: str, limit: int) -> Watched:
        rows = await self._rows(lambda row: row.shard in shards and (row.active or row.timer_at is not None))
        active = sorted(row.order_id for row in rows if row.active and row.order_id > after)
        timed = ((row.timer_at, row.order_id) for row in rows if row.timer_at is not None)
        late = sorted(each for each in timed if each[0] < before)
        return Watched(active[:limit], [order_id for _, order_id in late[:limit]])

    async def recent(self, shards: Sequence[int]) -> list[str]:
        rows = await self._rows(lambda row: row.shard in shards and row.ended_at is None)
        return [row.order_id for row in rows]

    async def _rows(self, is_wanted: Callable[[OrderRow], bool]) -> list[OrderRow]:
        database = self._database
        return list(await database.ask(lambda: [row for row in database.orders.values() if is_wanted(row)]))

    async def known_keys(self, tenant: str, client_keys: Sequence[str]) -> dict[str, KnownKey]:
        database = self._database

        def read() -> dict[str, KnownKey]:
            found = {}
            for key in client_keys:
                order_id = database.client_keys.get((tenant, key))
                if order_id is not None:
                    row = database.orders[order_id]
                    found[key] = KnownKey(key, order_id, row.body_hash or b"", row.state)
            return found

        return dict(await database.ask(read))

    async def awaited_orders(self, tenant: str, names: Sequence[str]) -> set[tuple[str, str]]:
        database = self._database
        rows = await database.ask(lambda: list(database.waits.values()))
        return {(row.channel, row.name) for row in rows if row.tenant == tenant and row.name in names}

    async def related_waits(self, tenant: str, channel: str, names: Sequence[str]) -> RelatedWaits:
        database = self._database

        def named(channel: str, name: str) -> str | None:
            order = database.orders.get(name)
            if order is not None and order.tenant == tenant:
                return name
            found = [each for each in database.orders.values() if (each.channel, each.external_id) == (channel, name)]
            found.sort(key=lambda each: (each.created_at, each.order_id))
            return next((each.order_id for each in found if each.tenant == tenant), None)

        def read() -> RelatedWaits:
            targets = {name: target for name in names if (target := named(channel, name)) is not None}
            reached = list(dict.fromkeys(targets.values()))
            waits = []
            for order_id in reached:
                for row in database.waits.values():
                    if row.order_id == order_id and row.tenant == tenant:
                        target = named(row.channel, row.name)
                        waits.append(Wait(*row[1:6], frozenset(row.blocks), row.opened_at, target))
                        if target is not None and target not in reached:
                            reached.append(target)
            return RelatedWaits(targets, waits)

        found: RelatedWaits = await database.ask(read)
        return found

    async def account_state(
        self, tenant: str, accounts: Sequence[str]
    ) -> tuple[dict[str, list[dict[str, Any]]], dict[str, list[str]]]:
        database = self._database
        # Two statements, and others may commit between them.
        rows = await database.ask(
            lambda: [each for each in database.assets.values() if each.account in accounts and each.tenant == tenant]
        )
        assets: dict[str, list[dict[str, Any]]] = {}
        for asset in sorted(rows, key=lambda each: (each.updated_at, each.asset_id)):
            if asset.status != "terminated":
                assets.setdefault(asset.account, []).append(orjson.loads(asset.body))
        orders: dict[str, list[str]] = {}
        opened = await self._rows(
            lambda row: row.account in accounts and row.tenant == tenant and row.ended_at is None
        )
        for order in sorted(opened, key=lambda each: (each.created_at, each.order_id)):
            orders.setdefault(order.account or "", []).append(order.order_id)
        return assets, orders


def _veiled(data: bytes) -> bytes:
    """Not secret, but not to be found by a search for the text either; its own inverse."""
    return bytes(each ^ 0x5A for each in data)


@dataclass(slots=True)
class MemoryVault:
    """Twin of `persistence.vault.Vault`; the key store is a table of the same server here."""

    database: MemoryDatabase
    name: str
    """Of the process: makes its key ids its own."""
    made: int = 0
    _order_keys: dict[str, str] = field(default_factory=dict)
    _new_keys: list[tuple[str, str]] = field(default_factory=list)
    _sealed: list[SealedRow] = field(default_factory=list)

    async def load_tenant(self, tenant: str) -> None:
        await self.database.ask(lambda: None)

    def digest(self, tenant: str, data: bytes) -> bytes:
        return hashlib.blake2b(data, key=tenant.encode(), digest_size=16).digest()

    def seal(self, order_id: str, name: str, value: Any) -> dict[str, Any]:
        key_id = self._order_keys.get(order_id)
        if key_id is None:
            self.made += 1
            key_id = self._order_keys[order_id] = f"{self.name}-{self.made}"
            self._new_keys.append((key_id, order_id))
        self._sealed.append(SealedRow(order_id, name, "main", key_id, _veiled(orjson.dumps(value))))
        return {SEALED: name}

    def encrypt(self, tenant: str, owner: str, value: Any) -> dict[str, Any]:
        self.made += 1
        plain = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
        return {ENCRYPTED: f"1.{self.made}.{_veiled(plain).hex()}", "mac": self.mac(tenant, value)}

    def mac(self, tenant: str, value: Any) -> str:
        return f"{zlib.crc32(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)):08x}"

    def forget(self, owners: Iterable[str]) -> None:
        """It has no secrets."""

    async def destroy_secrets(self, secret_ids: Iterable[str]) -> None:
        """It has no secrets."""

    def take_sealed(self) -> list[SealedRow]:
        taken, self._sealed = self._sealed, []
        return taken

    def drop_new_keys(self, is_kept: Callable[[str], bool]) -> None:
        for _, order_id in self._new_keys:
            if not is_kept(order_id):
                self._order_keys.pop(order_id, None)
        self._new_keys = [each for each in self._new_keys if is_kept(each[1])]

    async def store_keys(self) -> None:
        if not self._new_keys:
            return
        new = list(self._new_keys)
        await self.database.ask(lambda: self.database.keep_keys(new))
        self._new_keys.clear()

    async def destroy(self, order_ids: Iterable[str]) -> None:
        database = self.database
        ended = set(order_ids)

        def keys() -> None:
            for key_id in [key_id for key_id, order_id in database.order_keys.items() if order_id in ended]:
                del database.order_keys[key_id]
                database.destroyed_keys.add(key_id)

        def values() -> None:
            for place in [place for place in database.sealed if place[0] in ended]:
                del database.sealed[place]

        def mark() -> None:
            for order_id in ended & database.orders.keys():
                database.orders[order_id] = database.orders[order_id]._replace(sealed=False)

        for work in (keys, values, mark):
            await database.ask(work)
        for order_id in ended:
            self._order_keys.pop(order_id, None)

    async def open_all(self, tenant: str, order_id: str, document: Any) -> Any:
        return await self._opened(order_id, document)

    async def _opened(self, order_id: str, document: Any) -> Any:
        if is_sealed(document):
            return await self._open(order_id, document[SEALED])
        if is_encrypted(document):
            return orjson.loads(_veiled(bytes.fromhex(document[ENCRYPTED].rsplit(".", 1)[1])))
        if isinstance(document, dict):
            return {key: await self._opened(order_id, value) for key, value in document.items()}
        if isinstance(document, list):
            return [await self._opened(order_id, value) for value in document]
        return document

    async def _open(self, order_id: str, name: str) -> Any:
        database = self.database
        row = await database.ask(lambda: database.sealed.get((order_id, name)))
        if row is None or not await database.ask(lambda: row.key_id in database.order_keys):
            raise NotFound(f"sealed value {name!r} of order {order_id} does not exist any more")
        return orjson.loads(_veiled(row.ciphertext))

