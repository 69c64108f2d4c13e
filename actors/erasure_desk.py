"""The desk for erasures: sees that an account can be erased, notes it, and has the account's host do it."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final, Protocol

import structlog

from actors.envelopes import Envelope, EraseAccount
from actors.folding import PlanFolder
from domain.errors import Forbidden, PlanUnreadable
from domain.ids import OWN_ACCOUNT, account_shard, shard_of
from persistence import erasable, erasures
from persistence.database import Pool
from persistence.erasures import Erasure, ErasureOutdated
from persistence.readstore import ReadStore
from persistence.vault import Vault

log = structlog.get_logger(__name__)

LANE: Final = "receive_erasures"
HOST_TIMEOUT_S: Final = 15.0
TRIES_MAX: Final = 3
_READ_TOGETHER: Final = 100
_ADAPTER: Final = "adapter:"


class Asks(Protocol):
    """The way to the account's host."""

    shards: int

    async def ask(self, lane: str, shard: int, envelope: Envelope, *, timeout_s: float) -> Any: ...


def _new_id() -> str:
    return f"e{uuid.uuid4().hex[:20]}"


class ErasureDesk:
    """Works for all tenants of a server; lives where the people actor does."""

    def __init__(
        self,
        pool: Pool,
        vault: Vault,
        hosts: Asks,
        clock: Callable[[], datetime],
        new_id: Callable[[], str] = _new_id,
    ) -> None:
        self._pool = pool
        self._vault = vault
        self._hosts = hosts
        self._clock = clock
        self._new_id = new_id
        self._store = ReadStore(pool)

    async def erase(
        self, tenant: str, who: str, reason: str, account: str, *, with_products: bool, is_allowed: bool
    ) -> dict[str, Any]:
        """Erase an account; its certificate. One that was interrupted is gone on with.

        Args:
            tenant: the account's.
            who: asks for it.
            reason: why.
            account: the billing account, else the customer; `order ID` of an order that has neither.
            with_products: products that are not terminated go as well.
            is_allowed: whether `who` may ask for it; that somebody asked who may not is kept.
        Raises:
            Forbidden: the caller may not erase.
            NotFound: nothing is known of the account.
            NotPossibleNow: something stands in the way.
            Busy: the host has not answered in time, or the account changes all the time.
        """
        actor, now = f"person:{who}", self._clock()
        if not is_allowed:
            await erasures.note_refused(self._pool, self._new_id(), tenant, account, actor, reason, now)
            raise Forbidden(
                f"{who} may not erase accounts", mend="ask somebody with the role privacy; that you asked is kept"
            )
        for attempt in range(TRIES_MAX):
            erasure = await self._note(tenant, actor, reason, account, with_products)
            try:
                envelope = EraseAccount(erasure.shard, erasure)
                await self._hosts.ask(LANE, erasure.shard, envelope, timeout_s=HOST_TIMEOUT_S)
                break
            except ErasureOutdated:
                if attempt == TRIES_MAX - 1:
                    raise
        done = await erasures.read_erasure(self._pool, tenant, erasure.erasure_id)
        log.info("an account is erased", erasure_id=erasure.erasure_id, orders=len(erasure.order_ids), actor=actor)
        return done

    async def _note(self, tenant: str, actor: str, reason: str, account: str, with_products: bool) -> Erasure:
        shard = self._shard_of(tenant, account)
        found = await erasable.find_account(self._pool, tenant, account, shard)
        now = self._clock()
        await erasable.require_over(self._pool, tenant, account, found, now, with_products=with_products)
        secret_ids = await self._vault.secrets_of([*found.order_ids, *found.names])
        shared = await erasable.shared_secrets(self._pool, tenant, account, secret_ids)
        body = {
            "products": found.products,
            "sharedSecrets": shared,
            "wentTo": {
                "systems": await self._systems(found.order_ids),
                "listeners": await erasable.listeners_of(self._pool, tenant, found.ended_at),
                "channels": found.channels,
            },
        }
        erasure = Erasure(
            self._new_id(),
            tenant,
            account,
            shard,
            found.order_ids,
            found.names,
            [each for each in secret_ids if each not in shared],
            await erasable.jobs_of(self._pool, tenant, found.order_ids),
        )
        return await erasures.begin(
            self._pool, erasure, actor=actor, reason=reason, with_products=with_products, body=body, now=now
        )

    def _shard_of(self, tenant: str, account: str) -> int:
        if account.startswith(OWN_ACCOUNT):
            return shard_of(account.removeprefix(OWN_ACCOUNT))
        return account_shard(tenant, account, self._hosts.shards)

    async def _systems(self, order_ids: list[str]) -> list[str]:
        """The systems that were called for these orders, answered or not."""
        called: set[str] = set()
        folder = PlanFolder(self._store)
        for start in range(0, len(order_ids), _READ_TOGETHER):
            stored = await self._store.facts_of(order_ids[start : start + _READ_TOGETHER])
            for facts in stored.values():
                # Of a plan that cannot be read, too: those that have answered.
                called.update(
                    each.actor.removeprefix(_ADAPTER) for each in facts if each.actor.startswith(_ADAPTER)
                )
                try:
                    plan = await folder.fold(facts) if facts else None
                except PlanUnreadable:
                    continue
                if plan is not None:
                    called.update(
                        each.definition.system
                        for each in plan.items
                        if each.attempt and each.is_callout and each.definition is not None
                    )
        return sorted(each for each in called if each)
