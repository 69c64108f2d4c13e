"""Joining anew: an order whose shared instance is not made by the one that was to make it makes it itself.

A line of an instance that several orders of an account share waits for the delivery of the order that makes it. When
that order is cancelled, the line becomes an add: the order is decomposed and composed anew, against what the account
has by then, and laid over its plan like any other change (`domain/change.py`). Those that had joined a line that has
become another do the same after it. Where that is refused, a person decides, and may have it tried again. Source:
REFERENCE f.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Final

from domain.compose import AWAIT_REF
from domain.errors import NotPossibleNow
from domain.inventory import ACCOUNT_INSTANCE, Account
from domain.items import ItemRun
from domain.lines import Line
from domain.messages import ChangeOrder, Delivered, OperateItem, PlanMessage
from domain.plan import Plan
from domain.states import ItemState

_BY_HAND: Final = frozenset({"skip", "complete"})


def rejoining(plan: Plan, message: PlanMessage) -> ChangeOrder | None:
    """The change that the end of another order makes of a plan; None when it makes none."""
    if not isinstance(message, Delivered) or not message.is_cancelled:
        return None
    return _rejoin(plan, message.by_order, [item for item, line in _awaits(plan) if line.joins == message.by_order])


def followers(
    account: Account, plans: Mapping[str, Plan], plan: Plan, remade: frozenset[str]
) -> Iterator[tuple[str, ChangeOrder]]:
    """Who has to join anew because an order makes some assets otherwise: those that came later and wait for them."""
    for order_id, opened in account.open_orders.items() if remade else ():
        other = plans.get(order_id)
        if other is None or opened.is_waiting or opened.is_remote or opened.sequence <= plan.sequence:
            continue
        awaits = [
            item
            for item, line in _awaits(other)
            if line.joins == plan.order_id and (line.awaits or line.asset_id) in remade
        ]
        if (change := _rejoin(other, plan.order_id, awaits)) is not None:
            yield order_id, change


def first_of(rejoins: Iterable[str], plans: Mapping[str, Plan]) -> Plan:
    """Whose turn it is of the orders that have to join anew: what it makes may concern those behind it alone."""
    return plans[min(rejoins, key=lambda order_id: plans[order_id].sequence)]


def retrying(plan: Plan, message: OperateItem) -> ChangeOrder | None:
    """The change that somebody wants who retries an await that failed; None for any other repair.

    Not for many orders at once: what comes of them is shown before, by someone who does not see their accounts.
    """
    if message.action != "retry" or message.is_fallout_only:
        return None
    item = plan.by_key.get(message.item)
    if item is None or not _is_await(plan, item) or item.state is not ItemState.FATALLY_FAILED:
        return None
    joined = plan.lines_of(item)[0].joins or ""
    return ChangeOrder("rejoin", message.reason, message.message_id, joined=joined, awaits=(item.key,))


def refuse_second(plan: Plan, message: OperateItem, account: Account) -> None:
    """Refuse to go on by hand where the line would make an instance that somebody else has made, or is to make.

    Raises:
        NotPossibleNow: with the way on.
    """
    if message.action not in _BY_HAND:
        return
    item = plan.by_key.get(message.item)
    if item is None or not _is_await(plan, item) or item.state is not ItemState.FATALLY_FAILED:
        return
    line = plan.lines_of(item)[0]
    if line.instance != ACCOUNT_INSTANCE:
        return
    if line.asset_id not in account.assets and any(
        line.asset_id in each.deltas
        for each in account.open_orders.values()
        if not each.is_waiting and each.sequence < plan.sequence
    ):
        raise NotPossibleNow(
            f"another order of the account is about to make {line.name}",
            mend="retry the item: it waits for that order then",
        )
    if any(
        (each.product, each.instance) == (line.product, line.instance) and each.asset_id != line.asset_id
        for each in account.projected().assets.values()
    ):
        raise NotPossibleNow(
            f"the account has another {line.name} by now, and would have two of them",
            mend="retry the item: the order is worked out anew, with the one that there is",
        )


def undeliverable(plan: Plan, account: Account) -> list[str]:
    """Awaits of what no open order is to deliver any more."""
    found = []
    for item, line in _awaits(plan):
        opened = account.open_orders.get(line.joins or "")
        asset_id = line.awaits or line.asset_id
        is_expected = opened is not None and (
            opened.is_unknown or asset_id in opened.deltas or asset_id in account.assets
        )
        if not is_expected:
            found.append(item.key)
    return found


def merged(one: ChangeOrder, other: ChangeOrder | None) -> ChangeOrder:
    """One change for both; either covers all that there is."""
    awaits = (*one.awaits, *(other.awaits if other is not None else ()))
    return replace(one, awaits=tuple(dict.fromkeys(awaits)))


def _rejoin(plan: Plan, joined: str, awaits: list[ItemRun]) -> ChangeOrder | None:
    if not awaits or plan.account_shard is not None:
        return None
    return ChangeOrder(
        "rejoin",
        f"order {joined} does not make what it was to share",
        f"rejoin-{joined}-{plan.facts}",
        joined=joined,
        awaits=tuple(item.key for item in awaits),
    )


def _awaits(plan: Plan) -> Iterator[tuple[ItemRun, Line]]:
    """The awaits that are not over, each with its line."""
    for node in plan.awaits if plan.template is not None else ():
        item = plan.items[node]
        if item.state is ItemState.PENDING:
            yield item, plan.lines_of(item)[0]


def _is_await(plan: Plan, item: ItemRun) -> bool:
    assert plan.template is not None
    return plan.template.nodes[item.node].ref == AWAIT_REF
