"""Agents who change their minds: orders under way are amended, patched, cancelled, moved, held and frozen, some of it
twice, for an older version, as a rehearsal, or where it may not be.
"""

from __future__ import annotations

import asyncio
import copy
import random
from typing import TYPE_CHECKING, Any, Final

from domain.errors import OrderplanError
from domain.messages import ChangeOrder, SteerOrder
from tests.simulation.checkers import SECRET
from tests.simulation.seen import Order, Wish

if TYPE_CHECKING:
    from tests.simulation.world import World

SHARE_CHANGED: Final = 0.4
"""Of the seeds, those in which orders change."""
KINDS: Final[tuple[tuple[str, int], ...]] = (
    ("amend", 26), ("patch", 20), ("cancel", 12), ("cancelLines", 8), ("move", 8), ("hold", 10), ("freeze", 10),
    ("prioritize", 6),
)  # fmt: skip
STEERED: Final = frozenset({"hold", "freeze", "prioritize"})
MASK: Final = "********"
"""What agents are shown in the place of a value that is out of sight, and send back where it is to stay."""
PRODUCTS: Final = ("sim", "sim", "visit", "line", "voice")


class Agents:
    """Whoever may change orders; they know what the lists show."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._made = 0

    def change(self, seed: int) -> None:
        """Change some order; which and how is drawn when it happens."""
        self._world.outside(self._change(random.Random(seed)))

    async def _change(self, draw: random.Random) -> None:
        world = self._world
        for _ in range(15):
            running = sorted(row.order_id for row in world.database.orders.values() if row.ended_at is None)
            if running:
                break
            await asyncio.sleep(draw.uniform(0.1, 1.0))
        else:
            return
        order_id = draw.choice(running)
        if draw.random() < 0.03:
            order_id = draw.choice(sorted(world.database.orders))
        names, weights = zip(*KINDS, strict=True)
        await self._once(draw, order_id, draw.choices(names, weights)[0])
        while draw.random() < 0.3:
            # Another one, while that is being carried out.
            await asyncio.sleep(draw.uniform(0.2, 3.0))
            await self._once(draw, order_id, draw.choice(("amend", "patch", "cancel", "cancel")))

    async def _once(self, draw: random.Random, order_id: str, kind: str) -> None:
        world = self._world
        self._made += 1
        name = f"change-{self._made}"
        message = _steering(draw, kind, name) if kind in STEERED else self._wish(draw, order_id, kind, name)
        world.trace(f"{name}: {message}")
        copies = 2 if draw.random() < 0.2 else 1
        if (wish := world.checkers.wishes.get(name)) is not None:
            wish.copies = copies
        for _ in range(copies):
            world.outside(self._say(order_id, message, name))
            await asyncio.sleep(draw.choice((0.0, 0.0, 0.05, 1.0)))

    async def _say(self, order_id: str, message: Any, name: str) -> None:
        world = self._world
        count, answer = await world.tell(order_id, message, "person:ann", name, 12)
        world.trace(f"{name} is answered: {answer}")
        is_refused = isinstance(answer, OrderplanError) and answer.status < 500
        if (wish := world.checkers.wishes.get(name)) is not None:
            world.checkers.answered_change(wish, answer, is_refused=is_refused, is_first=count == 1)

    def _wish(self, draw: random.Random, order_id: str, kind: str, name: str) -> ChangeOrder:
        """A change of an order, as somebody makes it who has read the order just now."""
        world = self._world
        order = world.checkers.orders[order_id]
        wish = Wish(name, order_id, "cancel" if kind == "cancelLines" else kind)
        members: dict[str, Any] = {}
        if kind == "amend":
            members["order"] = _amended(draw, order, wish, name)
        elif kind == "patch":
            members["patch"] = _patched(draw, order, wish, name)
        elif kind == "cancelLines":
            gone = (draw.choice(order.document["lines"])["id"],)
            wish.gone = members["lines"] = gone
        elif kind == "move":
            wish.release = members["release"] = draw.choice([release_id for release_id, _ in world.database.releases])
        drawn = draw.random()
        if drawn < 0.5:
            wish.version = order.version if drawn < 0.35 else order.version - 1
        wish.is_forced = draw.random() < 0.15
        wish.is_dry_run = draw.random() < 0.15
        world.checkers.wishes[name] = wish
        return ChangeOrder(
            wish.kind,  # type: ignore[arg-type]
            "somebody has thought about it",
            name,
            version=wish.version,
            is_forced=wish.is_forced,
            is_dry_run=wish.is_dry_run,
            **members,
        )

    async def steer(self) -> None:
        """Let go, after a while, what was held or frozen; give a change up that waits, now and then."""
        world = self._world
        while True:
            await asyncio.sleep(world.draw.uniform(0.5, 2.0))
            for order_id, order in list(world.checkers.orders.items()):
                if order.ended or order.plan == "going" or not order.is_composed:
                    continue
                if world.is_rough and world.draw.random() < (0.7 if order.change is None else 0.95):
                    continue
                if order.change is not None and not world.is_rough:
                    # It will be carried out.
                    continue
                self._made += 1
                name = f"steer-{self._made}"
                action: Any = "resume" if order.plan == "held" else "thaw"
                await world.tell(order_id, SteerOrder(action, "long enough", name), "person:olga", name, 4)


def _steering(draw: random.Random, kind: str, name: str) -> SteerOrder:
    action: Any = kind
    priority = draw.choice(("high", "normal", "low")) if kind == "prioritize" else ""
    return SteerOrder(action, "somebody says so", name, priority)


def _secrets(draw: random.Random, product: str | None, name: str) -> dict[str, Any]:
    if product != "sim" or draw.random() < 0.5:
        return {}
    return {"PUK": f"{SECRET}{name}", "TAX": f"{SECRET}tax-{name}"}


def _amended(draw: random.Random, order: Order, wish: Wish, name: str) -> dict[str, Any]:
    """The whole order as it is to be: lines with other values, lines less, lines more."""
    document: dict[str, Any] = copy.deepcopy(order.document)
    lines = document["lines"]
    for line in lines:
        line["attributes"] = {
            each: MASK if isinstance(value, dict) else value for each, value in line.get("attributes", {}).items()
        }
    if len(lines) > 1 and draw.random() < 0.3:
        lines.remove(draw.choice(lines))
    if draw.random() < 0.6:
        line = draw.choice(lines)
        if line["action"] != "delete":
            line["attributes"] |= {"n": draw.randrange(5, 50), **_secrets(draw, line.get("specification"), name)}
    if draw.random() < 0.35:
        product = draw.choice(PRODUCTS)
        line_id = f"{name}-1" if draw.random() < 0.8 else str(draw.randint(1, 3))
        if all(line["id"] != line_id for line in lines):
            attributes = {"n": draw.randrange(5), **_secrets(draw, product, name)}
            lines.append({"id": line_id, "action": "add", "specification": product, "attributes": attributes})
    if draw.random() < 0.2:
        document["description"] = name
    wish.lines = {line["id"]: line["attributes"].get("n") for line in lines}
    return document


def _patched(draw: random.Random, order: Order, wish: Wish, name: str) -> dict[str, Any]:
    """What changes of the order: values of one line, or a word about the whole."""
    if draw.random() < 0.15:
        return {"description": name}
    line = draw.choice(order.document["lines"])
    attributes: dict[str, Any] = {"n": draw.randrange(5, 50), **_secrets(draw, line.get("specification"), name)}
    if line.get("specification") == "sim" and order.is_composed and draw.random() < 0.15:
        attributes["IMSI"] = "mine"
        wish.is_forbidden = True
    wish.lines = {line["id"]: attributes["n"]}
    return {"lines": {line["id"]: {"attributes": attributes}}}
