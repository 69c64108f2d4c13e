"""What a tick writes, as rows in the order of their tables' columns, and what a client key finds."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple


class FactRow(NamedTuple):
    """One row of `fact`; `payload` is JSON text or None."""

    shard: int
    offset: int
    tenant: str
    order_id: str
    item: str | None
    kind: str
    v: int
    at: datetime
    release_id: str | None
    actor: str
    cause: str | None
    payload: str | None


class OrderRow(NamedTuple):
    """One row of `product_order`, columns in the order of the table."""

    order_id: str
    tenant: str
    shard: int
    account: str | None
    channel: str
    external_id: str | None
    client_key: str | None
    body_hash: bytes | None
    release_id: str | None
    priority: str
    state: str
    created_at: datetime
    requested_due_at: datetime | None
    ended_at: datetime | None
    active: bool
    timer_at: datetime | None
    fallout: int
    sealed: bool
    items: int


class AssetRow(NamedTuple):
    """One asset to put; `body` is JSON text."""

    tenant: str
    asset_id: str
    shard: int
    account: str | None
    product: str
    status: str
    body: str
    updated_at: datetime


class TaskRow(NamedTuple):
    """One manual task to open; `body` is JSON text."""

    task_id: str
    tenant: str
    order_id: str
    item: str
    queue: str
    name: str
    priority: int
    opened_at: datetime
    due_at: datetime | None
    closed_at: datetime | None
    body: str


class FalloutRow(NamedTuple):
    """One item that has failed, columns in the order of the table; `retry_at` None: for good."""

    tenant: str
    order_id: str
    item: str
    shard: int
    name: str
    plan: str
    system: str
    queue: str | None
    error_code: str
    error: str
    attempt: int
    failed_at: datetime
    account: str | None
    priority: str
    retry_at: datetime | None


class HeldRow(NamedTuple):
    """One item On Hold, columns in the order of the table."""

    tenant: str
    system: str
    order_id: str
    item: str
    shard: int
    cause: str
    priority: int
    ready_at: datetime
    held_at: datetime


class WaitRow(NamedTuple):
    """One open wait for a related order, columns in the order of the table."""

    tenant: str
    order_id: str
    item: str
    channel: str
    name: str
    ref: str
    blocks: list[str]
    opened_at: datetime


class SealedRow(NamedTuple):
    """One sealed value."""

    order_id: str
    name: str
    tenant: str
    key_id: str
    ciphertext: bytes


class TemplateRow(NamedTuple):
    """One plan template; `body` is JSON text."""

    tenant: str
    template_id: str
    release_id: str
    body: str


class OwnedShard(NamedTuple):
    """A shard of an incarnation; `order_id` is the open order that has a dedicated shard for itself."""

    shard: int
    version: int
    is_dedicated: bool
    order_id: str | None


class Unfinished(NamedTuple):
    """What a new owner of shards has to know of: orders that call somebody, and the next timers of others."""

    active: list[str]
    timers: list[tuple[str, datetime]]


@dataclass(slots=True)
class Commit:
    """Everything one tick writes. Rows of the same order appear in the order they were decided."""

    facts: list[FactRow] = field(default_factory=list)
    orders_new: dict[str, OrderRow] = field(default_factory=dict)
    orders_changed: dict[str, OrderRow] = field(default_factory=dict)
    assets: dict[str, AssetRow] = field(default_factory=dict)
    tasks_new: dict[str, TaskRow] = field(default_factory=dict)
    tasks_closed: dict[str, datetime] = field(default_factory=dict)
    fallout: dict[tuple[str, str], FalloutRow | None] = field(default_factory=dict)
    """(order, item) -> its row while it has failed; None: it has not any more."""
    held: dict[tuple[str, str], HeldRow | None] = field(default_factory=dict)
    """(order, item) -> its row while it is On Hold; None: it is not any more."""
    waits: dict[tuple[str, str], WaitRow | None] = field(default_factory=dict)
    """(order, item) -> its row while it waits for a related order; None: it does not any more."""
    templates: dict[str, TemplateRow] = field(default_factory=dict)
    sealed: list[SealedRow] = field(default_factory=list)
    released_shards: list[tuple[int, str]] = field(default_factory=list)
    """Shards that this commit gives away: (shard, incarnation that gets it)."""
    holders: dict[int, str | None] = field(default_factory=dict)
    """Dedicated shard -> the open order that has it for itself from now on."""

    def is_empty(self) -> bool:
        """Whether nothing but the heartbeat would be written."""
        return not (self.facts or self.orders_changed or self.assets or self.released_shards)


class KnownKey(NamedTuple):
    """An order that a client key already names."""

    client_key: str
    order_id: str
    body_hash: bytes
    state: str
