"""What a host remembers of its shards: plans in work, accounts, releases. All of it can be read again from the
journal.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Final

from actors.folding import PlanFolder
from actors.ports import JournalPort
from domain.ids import OWN_ACCOUNT, booking_id, shard_of
from domain.intake import in_order_of_account, open_order_of
from domain.inventory import Account, Asset, OpenOrder
from domain.plan import Plan

PLANS_MAX: Final = 20_000
ITEMS_MAX: Final = 400_000
"""Plans in memory, and their items counted together: beyond either the one that was used longest ago goes first."""
IDLE_S: Final = 30.0
"""A plan that nothing has come for in so long leaves memory, and is read again when something does. Reading one of ten
items costs some milliseconds; keeping a million that wait for people would cost gigabytes.
"""
MANY_OPEN: Final = 5
"""Plans of an account with more open orders stay as long as there is room: a message for one of them reads all."""
LOOKS_MAX: Final = 500
"""Plans that a tick looks at for that; what calls somebody stays, and comes to its turn again."""
QUIET_MAX: Final = 10_000
"""Accounts without an open order that stay in memory, and their assets, counted together: for the next order of
somebody who has just ordered. Reading one again is a part of a query that a tick makes anyway.
"""

AccountKey = tuple[str, str]
"""(tenant, account), or (tenant, order id) for an order without an account; see `account_key`."""


def account_key(plan: Plan) -> AccountKey:
    """Under which key the plan's account is remembered."""
    return (plan.order.tenant, plan.order.account or OWN_ACCOUNT + plan.order_id)


class Memory:
    """Plans and accounts of one host, loaded on first use and dropped when ended, idle or doubtful. `clock` is in
    seconds, that of the event loop.
    """

    def __init__(self, journal: JournalPort, is_mine: Callable[[int], bool], clock: Callable[[], float]) -> None:
        self._journal = journal
        self.is_mine = is_mine
        self._clock = clock
        self.plans: dict[str, Plan] = {}
        self._used: OrderedDict[str, tuple[float, int]] = OrderedDict()
        """When each plan was last used, and its items as they count; the one that was used longest ago first."""
        self._items = 0
        self.accounts: dict[AccountKey, Account] = {}
        self._quiet: OrderedDict[AccountKey, int] = OrderedDict()
        """Accounts without an open order and what each counts, the one that was used longest ago first. Ordered: a
        plain dictionary looks for its first entry through the places of all that were taken out before it.
        """
        self._quiet_count = 0
        self.folder = PlanFolder(journal)

    # Plans.

    async def load_plans(self, order_ids: Iterable[str]) -> None:
        """Fold the plans that are not in memory; unknown orders stay absent."""
        missing = [order_id for order_id in dict.fromkeys(order_ids) if order_id not in self.plans]
        if not missing:
            return
        for order_id, stored in (await self._journal.facts_of(missing)).items():
            if stored:
                plan = self.plans[order_id] = await self.folder.fold(stored)
                self._use(order_id, plan, self._clock())

    # Accounts.

    async def load_accounts(
        self, tenant: str, accounts: Iterable[str], load_plans: Callable[[list[str]], Awaitable[None]] | None = None
    ) -> None:
        """Load accounts that are not in memory, with their assets and the plans of their open orders.

        Args:
            tenant: theirs.
            accounts: their ids.
            load_plans: how plans are loaded; one that it leaves out is an unknown order of its account, which is read
                anew each time it is needed until the plan is there.
        """
        missing = [account for account in dict.fromkeys(accounts) if not self._is_known((tenant, account))]
        if not missing:
            return
        assets, open_orders = await self._journal.account_state(tenant, missing)
        await (load_plans or self.load_plans)([order_id for each in open_orders.values() for order_id in each])
        for account_id in missing:
            account = Account(account_id)
            for body in assets.get(account_id, ()):
                asset = Asset.from_dict(body)
                account.assets[asset.asset_id] = asset
            mine = open_orders.get(account_id, ())
            if account_id.startswith(OWN_ACCOUNT):
                own = self.plans.get(account_id.removeprefix(OWN_ACCOUNT))
                mine = [own.order_id] if own is not None and own.ended_at is None else []
            opened = [await self._open_order(order_id) for order_id in mine]
            account.open_orders = in_order_of_account([each for each in opened if each is not None])
            self.accounts[tenant, account_id] = account
            # Whatever becomes of what it was loaded for.
            self._rest((tenant, account_id))

    def _is_known(self, key: AccountKey) -> bool:
        account = self.accounts.get(key)
        return account is not None and not account.unknown()

    async def _open_order(self, order_id: str) -> OpenOrder | None:
        """How the account sees one of its open orders.

        None: it is a dedicated plan whose last booking is stored, whether or not it has heard of that yet.
        """
        plan = self.plans.get(order_id)
        if plan is None:
            return OpenOrder(order_id, frozenset(), is_unknown=True)
        if plan.account_shard is None:
            return open_order_of(plan)
        if not self.is_mine(shard_of(order_id)):
            # Another host's: looked at, but not kept, because it changes there.
            self._leave(order_id)
        if plan.ended_at is not None:
            return None
        names = {booking_id(order_id, number): number for number in plan.bookings}
        stored = await self._journal.facts_of(names) if names else {}
        booked = {names[name] for name, facts in stored.items() if facts}
        is_over = any(plan.bookings[number].is_last for number in booked)
        return None if is_over else open_order_of(plan, booked)

    def account_of(self, plan: Plan) -> Account:
        """The plan's account, loaded before; a new order without one gets an account of its own."""
        key = account_key(plan)
        account = self.accounts.get(key)
        if account is None:
            assert plan.order.account is None, "accounts are loaded before their plans are decided"
            account = self.accounts[key] = Account(None)
        return account

    # Forgetting.

    def forget(self, order_ids: Iterable[str], accounts: Iterable[AccountKey]) -> None:
        """Drop what a failed commit has made doubtful."""
        for order_id in order_ids:
            self._leave(order_id)
        for key in accounts:
            self._drop(key)

    def forget_accounts(self) -> None:
        """Drop all accounts: which of them are another host's from now on is not asked."""
        self.accounts.clear()
        self._quiet.clear()
        self._quiet_count = 0

    def trim(self, touched: Iterable[str], accounts: Iterable[AccountKey]) -> list[str]:
        """Drop the touched plans that have ended, and what is idle for long or beyond the bounds; a plan that calls
        somebody stays, and so does an account as long as a plan of it is here. Returns the orders whose plans have
        left.
        """
        left: list[str] = []
        now = self._clock()
        for order_id in touched:
            plan = self.plans.get(order_id)
            if plan is None:
                continue
            if plan.ended_at is None:
                self._use(order_id, plan, now)
                continue
            self._leave(order_id)
            left.append(order_id)
            if plan.order.account is None:
                self._drop(account_key(plan))
        left.extend(self._passivate())
        for key in accounts:
            self._rest(key)
        while self._quiet_count > QUIET_MAX:
            key = next(iter(self._quiet))
            if self.accounts[key].open_orders:
                self._disturb(key)
            else:
                self._drop(key)
        return left

    def _passivate(self) -> Iterator[str]:
        """Drop plans, those that were used longest ago first, with the accounts that have no other here."""
        now = self._clock()
        idle_since = now - IDLE_S
        looks = 0
        while self._used:
            order_id, (used_at, _items) = next(iter(self._used.items()))
            is_full = len(self._used) > PLANS_MAX or (self._items > ITEMS_MAX and len(self._used) > 1)
            if (used_at > idle_since and not is_full) or looks >= LOOKS_MAX:
                return
            plan = self.plans[order_id]
            if plan.calling or plan.bookings or (not is_full and self._has_many_open(account_key(plan))):
                looks += 1
                self._use(order_id, plan, now)
                continue
            # However many: what is beyond the bounds has to go as fast as it comes.
            looks += not is_full
            self._leave(order_id)
            self._leave_account(account_key(plan))
            yield order_id

    def _has_many_open(self, key: AccountKey) -> bool:
        account = self.accounts.get(key)
        return account is not None and len(account.open_orders) > MANY_OPEN

    def _leave_account(self, key: AccountKey) -> None:
        """Drop an account whose open orders all rest in the database: it is read again with the first of them."""
        account = self.accounts.get(key)
        # The newest first: where many are open, those that are here are likely to be found among them at once.
        if account is not None and not any(order_id in self.plans for order_id in reversed(account.open_orders)):
            self._drop(key)

    def _use(self, order_id: str, plan: Plan, now: float) -> None:
        """Count a plan as used at this time."""
        known, items = self._used.get(order_id), len(plan.items)
        self._items += items - (known[1] if known is not None else 0)
        self._used[order_id] = (now, items)
        self._used.move_to_end(order_id)

    def _leave(self, order_id: str) -> None:
        self.plans.pop(order_id, None)
        known = self._used.pop(order_id, None)
        if known is not None:
            self._items -= known[1]

    def _rest(self, key: AccountKey) -> None:
        """Put an account last among the quiet ones, if it is one."""
        self._disturb(key)
        account = self.accounts.get(key)
        if account is not None and not account.open_orders:
            self._quiet[key] = 1 + len(account.assets)
            self._quiet_count += self._quiet[key]

    def _disturb(self, key: AccountKey) -> None:
        self._quiet_count -= self._quiet.pop(key, 0)

    def _drop(self, key: AccountKey) -> None:
        self._disturb(key)
        self.accounts.pop(key, None)
