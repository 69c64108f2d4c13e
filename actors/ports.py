"""What the actors need of the world: a journal, a vault, a way for calls, the table of owners, processes. Real ones
under Ray, others in simulations.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from actors.envelopes import BookAssets
from actors.folding import StorePort
from domain.holds import HeldSystems
from domain.related import RelatedWaits
from domain.sealing import Protector
from domain.turn import Call
from persistence.catalogue import Limits
from persistence.erasures import Erasure
from persistence.holds import HeldItem, HoldRow
from persistence.hub import Delivery, Listener, Outcome
from persistence.incarnations import Assignment, Incarnation
from persistence.readstore import StoredFact
from persistence.rows import Commit, KnownKey, OwnedShard, SealedRow, Unfinished
from persistence.waits import OpenWait
from persistence.watched import Watched


class JournalPort(StorePort, Protocol):
    """What a host needs of its journal (persistence/journal.py; a memory twin stands in the tests)."""

    incarnation_id: str

    async def commit(self, commit: Commit) -> None: ...
    async def erase(
        self, erasure: Erasure, destroy: Callable[[Iterable[str]], Awaitable[None]], now: datetime
    ) -> dict[str, int]: ...
    async def raise_epoch(self) -> None: ...
    async def close(self) -> None: ...
    def abandon(self) -> None: ...
    async def heads(self, shards: Iterable[int]) -> dict[int, int]: ...
    async def owned_shards(self) -> dict[int, OwnedShard]: ...
    async def unfinished(self, shards: Iterable[int]) -> Unfinished: ...
    async def unshredded(self, shards: Iterable[int]) -> list[str]: ...
    async def watched(self, shards: Sequence[int], before: datetime, after: str, limit: int) -> Watched: ...
    async def recent(self, shards: Sequence[int]) -> list[str]: ...
    async def known_keys(self, tenant: str, client_keys: Sequence[str]) -> dict[str, KnownKey]: ...
    async def awaited_orders(self, tenant: str, names: Sequence[str]) -> set[tuple[str, str]]: ...
    async def related_waits(self, tenant: str, channel: str, names: Sequence[str]) -> RelatedWaits: ...
    async def account_state(
        self, tenant: str, accounts: Sequence[str]
    ) -> tuple[dict[str, list[dict[str, Any]]], dict[str, list[str]]]: ...


class VaultPort(Protector, Protocol):
    """What a host needs of the vault."""

    async def load_tenant(self, tenant: str) -> None: ...
    def digest(self, tenant: str, data: bytes) -> bytes: ...
    def forget(self, owners: Iterable[str]) -> None: ...
    def drop_new_keys(self, is_kept: Callable[[str], bool]) -> None: ...
    async def store_keys(self) -> None: ...
    def take_sealed(self) -> list[SealedRow]: ...
    async def destroy(self, order_ids: Iterable[str]) -> None: ...
    async def destroy_secrets(self, secret_ids: Iterable[str]) -> None: ...


class DispatchPort(Protocol):
    """Where a host's calls go."""

    def send(self, calls: Sequence[Call]) -> None:
        """Take calls to send; returns at once, keeps them until they are settled."""
        ...

    def settled(self, order_id: str, item: str, attempt: int) -> None:
        """The attempt needs no sending any more: its result is here, or nobody waits for it."""
        ...

    def lag_s(self) -> float:
        """How long it takes to hand calls over, in seconds, just now."""
        ...

    def knows(self, order_id: str, item: str, attempt: int) -> bool:
        """Whether the attempt is kept: sent, or to be sent."""
        ...


class BookingPort(Protocol):
    """Where a host's bookings go: what its dedicated plans deliver, to the hosts of their accounts."""

    def send(self, bookings: Sequence[BookAssets]) -> None:
        """Take bookings to send, each order's in turn; returns at once, repeats them until they are confirmed."""
        ...

    def forget(self, keep: Callable[[str], bool]) -> None:
        """Drop the bookings of orders that another host owns now."""
        ...


class OpeningPort(Protocol):
    """What the adapters need of the vault."""

    async def open_all(self, tenant: str, order_id: str, document: Any) -> Any: ...


class HoldsPort(Protocol):
    """What holds systems, and a place to keep that a circuit breaker is open (persistence/holds.py)."""

    async def list_holds(self) -> list[HoldRow]: ...
    async def note_breaker(
        self, tenant: str, code: str, *, is_held: bool, reason: str, probe_at: datetime, now: datetime
    ) -> None: ...
    async def drop_breaker(self, tenant: str, code: str, now: datetime) -> None: ...


class HeldItemsPort(Protocol):
    """What a resumer reads (persistence/holds.py)."""

    async def holds(self) -> list[HoldRow]: ...
    async def limits(self) -> dict[str, Limits]: ...
    async def systems(self) -> list[str]: ...
    async def next_held(self, system: str, limit: int, without: Collection[HeldItem]) -> list[HeldItem]: ...
    async def next_try(self, system: str, without: Collection[HeldItem]) -> HeldItem | None: ...


class WaitsPort(Protocol):
    """Open waits for related orders (persistence/waits.py)."""

    async def page(self, after: tuple[str, str], limit: int) -> list[OpenWait]: ...
    async def leading_from(self, channel: str, names: Sequence[str]) -> RelatedWaits: ...


class FeedPort(Protocol):
    """The facts that are committed (persistence/feed.py)."""

    async def heads(self) -> dict[int, int]: ...
    async def facts_after(self, offsets: Mapping[int, int], per_shard: int) -> list[StoredFact]: ...


class OutboxPort(Protocol):
    """How far the notifier has read, and what waits for listeners (persistence/hub.py)."""

    async def take_over(self) -> tuple[int, dict[int, int]]: ...
    async def cursors(self, epoch: int) -> dict[int, int]: ...
    async def pass_over(self, epoch: int, offsets: Mapping[int, int]) -> None: ...
    async def listeners(self) -> list[Listener]: ...
    async def record(
        self,
        epoch: int,
        offsets: Mapping[int, int],
        deliveries: Sequence[Delivery],
        now: datetime,
        backlog_max: int,
    ) -> dict[str, int]: ...
    async def due(self, listener_id: str, now: datetime, busy: Sequence[str], limit: int) -> list[Delivery]: ...
    async def settle(self, epoch: int, outcomes: Sequence[Outcome], now: datetime, failing_s: float) -> list[str]: ...


class TablePort(Protocol):
    """The routing table: who owns which shard (persistence/incarnations.py)."""

    async def shard_count(self) -> int: ...
    async def assignments(self) -> list[Assignment]: ...


class OwnershipPort(TablePort, Protocol):
    """The routing table, and the few ways to change it."""

    async def living(self) -> list[Incarnation]: ...
    async def fence(self, incarnation_id: str) -> bool: ...
    async def reassign(self, wanted: Mapping[int, tuple[str | None, str]]) -> int: ...


class FleetPort(Protocol):
    """The processes of plan hosts, by the id of their incarnation."""

    def handle(self, incarnation_id: str) -> Any | None:
        """The host's actor, or None when no process lives under that name."""
        ...

    def start(self, incarnation_id: str, dedicated_shard: int | None) -> Any:
        """Begin a process; it takes shards once its `start` was called."""
        ...

    def kill(self, handle: Any) -> None:
        """End a process for good."""
        ...


ReadSystems = Callable[[], Awaitable[list[dict[str, Any]]]]
"""The systems of the environment, as `persistence.catalogue.list_systems` gives them."""
ReadHeld = Callable[[], Awaitable[Mapping[str, HeldSystems]]]
"""Tenant -> its systems that take no calls now."""
