"""Reading what a batch needs before it is decided: one query per kind, nothing per envelope."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Final

import structlog

from actors.envelopes import BookAssets, Due, Envelope, ImportAssets, Readmit, Redrive, Submission, ToPlan
from actors.memory import Memory, account_key
from actors.ports import JournalPort
from actors.tick import import_id_of
from domain.errors import NotFound, OrderplanError
from domain.ids import booking_id, shard_of
from domain.messages import ChangeOrder
from domain.related import RelatedWaits
from persistence.rows import KnownKey

log = structlog.get_logger(__name__)


_OF_AN_ORDER: Final = (ToPlan, Due, Redrive, Readmit, Submission)


class Loader:
    """Fills a host's memory from the journal."""

    def __init__(
        self, memory: Memory, journal: JournalPort, is_unavailable: Callable[[BaseException], bool]
    ) -> None:
        self.memory = memory
        self._journal = journal
        self._is_unavailable = is_unavailable
        self.unreadable: dict[str, str] = {}
        """Why orders of this host stand still: their plans could not be read when it took them up.

        Counted and listed, and not written into their rows: a row says what the facts say, and no fact can be appended
        to a plan that is not known. A version that can read the facts finds the rows as they were.
        """

    async def batch(self, batch: list[Envelope]) -> dict[tuple[str, str], KnownKey]:
        """Load what the batch needs, one query per kind: plans, accounts with their open orders, client keys.

        Plans that cannot be read stay away, and only they: the others of their accounts go on.
        """
        named = (each.order_id for each in batch if isinstance(each, _OF_AN_ORDER))
        plans = list(dict.fromkeys(order_id for order_id in named if order_id))
        await self.each(plans)
        accounts: dict[str, list[str]] = {}
        keys: dict[str, list[str]] = {}
        for envelope in batch:
            if isinstance(envelope, Submission):
                order = envelope.order
                if order.get("account") is not None:
                    accounts.setdefault(order["tenant"], []).append(order["account"])
                if order.get("clientKey") is not None:
                    keys.setdefault(order["tenant"], []).append(order["clientKey"])
            elif isinstance(envelope, ImportAssets):
                await self.memory.folder.release(envelope.tenant, envelope.release_id)
                accounts.setdefault(envelope.tenant, []).append(envelope.account)
            elif isinstance(envelope, BookAssets):
                accounts.setdefault(envelope.tenant, []).append(envelope.account)
        for order_id in plans:
            plan = self.memory.plans.get(order_id)
            if plan is not None and plan.account_shard is None:
                tenant, account = account_key(plan)
                accounts.setdefault(tenant, []).append(account)
        await self._load_releases(batch, plans)
        if not keys:
            await self._load_accounts(accounts)
            return {}
        # Neither needs the other: one way to the database less to wait for. Both come to their end, so that nothing
        # loads plans while a failed batch is put in order.
        known, loaded = await asyncio.gather(
            self._known_keys(keys), self._load_accounts(accounts), return_exceptions=True
        )
        for each in (known, loaded):
            if isinstance(each, BaseException):
                raise each
        assert not isinstance(known, BaseException)
        return known

    async def _load_releases(self, batch: list[Envelope], plans: list[str]) -> None:
        """Load the releases that orders are to be moved to; one that is not published is told to who asked."""
        wanted: dict[tuple[str, str], None] = {}
        for envelope in batch:
            if not isinstance(envelope, ToPlan) or not isinstance(envelope.message, ChangeOrder):
                continue
            plan = self.memory.plans.get(envelope.order_id)
            if plan is not None and envelope.message.release is not None:
                wanted[plan.order.tenant, envelope.message.release] = None
        for order_id in plans:
            waiting = self.memory.plans.get(order_id)
            if waiting is not None and waiting.change is not None and "release" in waiting.change:
                wanted[waiting.order.tenant, waiting.change["release"]] = None
        for tenant, release_id in wanted:
            with suppress(NotFound):
                await self.memory.folder.release(tenant, release_id)

    async def _load_accounts(self, accounts: Mapping[str, list[str]]) -> None:
        for tenant, named in accounts.items():
            wanted = dict.fromkeys(named)
            await self.memory.load_accounts(tenant, wanted, self._open_orders)
            # Orders of one account talk to one another: whoever may be told something has to be in memory.
            others = [
                order_id
                for account in wanted
                if len(self.memory.accounts[tenant, account].open_orders) > 1
                for order_id, each in self.memory.accounts[tenant, account].open_orders.items()
                if not (each.is_remote or each.is_unknown)
            ]
            await self.each(others)

    async def _known_keys(self, keys: Mapping[str, list[str]]) -> dict[tuple[str, str], KnownKey]:
        known: dict[tuple[str, str], KnownKey] = {}
        for tenant, client_keys in keys.items():
            found = await self._journal.known_keys(tenant, client_keys)
            known.update({(tenant, key): row for key, row in found.items()})
        return known

    async def known_imports(self, batch: Iterable[Envelope]) -> set[str]:
        """Causes of imports that were stored before: sent again, they must not set anything back."""
        causes = {import_id_of(each.cause): each.cause for each in batch if isinstance(each, ImportAssets)}
        if not causes:
            return set()
        return {causes[name] for name, stored in (await self._journal.facts_of(causes)).items() if stored}

    async def related_waits(self, batch: Iterable[Envelope]) -> dict[tuple[str, str, str], RelatedWaits]:
        """Who waits for whom, from the new orders on that relate to others and that somebody waits for already."""
        new: dict[tuple[str, str, str], list[str]] = {}
        for envelope in batch:
            order = envelope.order if isinstance(envelope, Submission) else {}
            if order.get("related") and order.get("externalId"):
                new[order["tenant"], order["channel"], order["externalId"]] = order["related"]
        found = {}
        for tenant in dict.fromkeys(each for each, _, _ in new):
            awaited = await self._journal.awaited_orders(tenant, [name for each, _, name in new if each == tenant])
            for key in new.keys() & {(tenant, *each) for each in awaited}:
                found[key] = await self._journal.related_waits(tenant, key[1], new[key])
        return found

    async def known_bookings(self, batch: Iterable[Envelope]) -> set[str]:
        """Names of bookings that were stored before: asked for again, they must change nothing."""
        asked = [each for each in batch if isinstance(each, BookAssets) and each.number > 0]
        if not asked:
            return set()
        names = [booking_id(each.order_id, each.number) for each in asked]
        return {name for name, stored in (await self._journal.facts_of(names)).items() if stored}

    async def _open_orders(self, order_ids: list[str]) -> None:
        """Load the open orders of accounts; a dedicated one that cannot be read is named by its own host."""
        await self.each(order_ids)
        self.forget_unreadable([each for each in order_ids if not self.memory.is_mine(shard_of(each))])

    async def each(self, order_ids: list[str]) -> None:
        """Load plans; one that cannot be read must not keep its shard from having an owner, nor stop others."""
        try:
            await self.memory.load_plans(order_ids)
            self.forget_unreadable(order_ids)
            return
        except Exception as error:
            if self._is_unavailable(error):
                raise
        for order_id in order_ids:
            try:
                await self.memory.load_plans([order_id])
                self.forget_unreadable([order_id])
            except Exception as error:
                if self._is_unavailable(error):
                    raise
                reason = error.reason if isinstance(error, OrderplanError) else type(error).__name__
                if self.unreadable.get(order_id) != reason:
                    # Once: it is tried again whenever something comes for it or its account.
                    log.exception("a plan cannot be read; it stands still", order_id=order_id)
                self.unreadable[order_id] = reason

    def forget_unreadable(self, order_ids: Iterable[str]) -> None:
        """These were read, or belong to another host now."""
        for order_id in order_ids:
            self.unreadable.pop(order_id, None)
