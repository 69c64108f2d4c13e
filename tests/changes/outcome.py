"""What a case must have left behind: inventory, and what was done and undone at the systems outside."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from domain.compose import AMEND, REDO, UNDO
from domain.inventory import Asset
from domain.orders import OrderLine
from domain.plan import Plan
from domain.release import ASSETIZE
from domain.sealing import SEALED, is_sealed
from domain.states import ItemState, OrderState
from tests.changes.orders import copied
from tests.changes.steps import finish
from tests.changes.world import Book, Work, World, shown
from tests.support.fingerprint import fingerprint

if TYPE_CHECKING:
    from tests.changes.case import Case


def check(case: Case) -> None:
    """Compare what was left with what must have been."""
    plan = case.plan
    assert case.world.account.open_orders == {}
    assert fingerprint(case.world.replayed_from_empty(plan)) == fingerprint(plan)
    assert plan.change is None
    undone_once(case)
    undone_once_by_slot(case)
    if not case.has_operators:
        # Who skips an item of an undoing lets go whoever waits for it.
        redone_after_undoing(case)
    twin = case.world.twin(case.releases[0], case.plans_before, case.before)
    if case.is_cancelled:
        assert plan.order_state is OrderState.CANCELLED
        bring_other(case, twin, is_finished=True)
        is_alone = case.other is None
        left, wanted = case.world.account.assets, twin.account.assets if is_alone else bodies(twin)
        assert repr(left if is_alone else bodies(case.world)) == repr(wanted), "a cancelled order has left something"
        whole_cancel(case)
        return
    assert plan.order_state is (OrderState.PARTIAL if case.ever_gone else OrderState.COMPLETED)
    before = bring_other(case, twin, is_finished=False)
    twin.plans.update(case.tries)
    twin.release = case.release
    other = twin.accept(copied(case.wanted))
    assert other.order_id == plan.order_id
    if before is not None:
        finish(twin, before)
    finish(twin, other)
    plans = [plan, *([case.other] if case.other is not None else ())]
    is_back = any(
        each.definition is not None and each.definition.source.task == "backPropagate"
        for each in (item for each in plans for item in each.items)
    )
    if case.is_moved_late:
        case.counts["moved after delivery"] += 1
        return
    if delivers_otherwise(plan, other):
        case.counts["assetize skipped with a branch"] += 1
        return
    if any(item.definition is None and item.state is ItemState.SKIPPED for item in (*plan.items, *other.items)):
        # The other order has not delivered what was to be shared: whose it is then depends on when that was seen.
        case.counts["awaited for nothing"] += 1
        return
    same_inventory(case, twin, is_back=is_back)
    same_secrets(case, twin, other)
    same_work(case, plan, twin, other, is_back=is_back)
    if not (case.has_operators or case.is_silent or is_back or case.other is not None):
        same_answers(case, plan, twin, other)


def bring_other(case: Case, twin: World, *, is_finished: bool) -> Plan | None:
    """Send the order that was on its way to the twin, too."""
    if case.other_order is None:
        return None
    before = twin.accept(copied(case.other_order))
    if is_finished:
        finish(twin, before)
    return before


def bodies(world: World) -> dict[str, Any]:
    """What is installed, without what answers gave: two orders under way see one another's."""
    return {asset_id: _body(asset, is_back=True) for asset_id, asset in sorted(world.account.assets.items())}


def delivers_otherwise(plan: Plan, other: Plan) -> bool:
    """Whether an assetize item is skipped with its branch from the start and not in the amended plan: work that had
    begun is not skipped any more, and who waits for it is not either.
    """
    skipped = {
        item.key
        for item in other.items
        if item.skip_reason == "branch" and item.definition is not None and item.definition.source.task == ASSETIZE
    }
    done = {item.key.partition("~")[0] for item in plan.items if item.state is ItemState.COMPLETED}
    return bool(skipped & done)


def same_inventory(case: Case, twin: World, *, is_back: bool) -> None:
    """The same assets with the same values, but for those that answers gave."""
    ours, theirs = case.world.account.assets, twin.account.assets
    assert ours.keys() == theirs.keys(), (
        f"amended leaves {_names(ours)}, ordered from the start {_names(theirs)}"
    )
    for asset_id in sorted(ours):
        left, right = _body(ours[asset_id], is_back=is_back), _body(theirs[asset_id], is_back=is_back)
        different = {name: (left[name], right[name]) for name in left if left[name] != right[name]}
        assert not different, f"{ours[asset_id].product} {asset_id}: amended and from the start differ: {different}"


def same_secrets(case: Case, twin: World, other: Plan) -> None:
    """The secrets of the order's lines are those that were given last."""
    ours, theirs = case.world.protector.sealed, twin.protector.sealed
    for mine, line in zip(_lines(case.plan, other), other.order.lines, strict=True):
        for name, value in line.attributes.items():
            if is_sealed(value):
                kept = mine.attributes.get(name)
                assert kept is not None, f"{name} of {line.line_id} is gone"
                assert is_sealed(kept), f"{name} of {line.line_id} is {kept}"
                found = ours[case.plan.order_id, kept[SEALED]]
                wanted = theirs[other.order_id, value[SEALED]]
                assert found == wanted, f"secret {name} of {line.line_id} is {found}, and was to be {wanted}"


def _lines(plan: Plan, other: Plan) -> list[OrderLine]:
    known = {line.line_id: line for line in plan.order.lines}
    return [known[line.line_id] for line in other.order.lines]


def _body(asset: Asset, *, is_back: bool) -> dict[str, Any]:
    body = asset.to_dict()
    # Whose answer came last says nothing.
    del body["orderId"]
    values = {
        name: shown(value)
        for name, value in asset.attributes.items()
        if not (name.startswith("r_") or name == "go")
    }
    # What work brings back to the order lines depends on when it does so.
    body["attributes"] = values if not is_back or asset.product not in ("a", "b") else {}
    return body


def _names(assets: dict[str, Asset]) -> list[tuple[str, str]]:
    return sorted((asset.product, asset_id) for asset_id, asset in assets.items())


def same_answers(case: Case, plan: Plan, twin: World, other: Plan) -> None:
    """Answers follow from what was asked: where each piece of work was last done with the final values, the same ones
    stand in the inventory.
    """
    free = {item.definition.source.code for item in plan.items if item.definition is not None and _is_free(item)}
    ours = done_of(plan, case.world.books[plan.order_id])
    theirs = done_of(other, twin.books[other.order_id])
    # What was done and would be skipped by now, or is undone, has answered all the same.
    book = case.world.books[plan.order_id]
    free |= {ref.partition("/")[2] for ref, _ in ours.keys() - theirs.keys()}
    free |= {plan.items[node].key.partition("@")[0].partition("/")[2] for node in undone_nodes(plan, book)}
    left = left_out(plan)
    for asset_id, asset in twin.account.assets.items():
        mine = case.world.account.assets[asset_id].attributes
        for name, value in asset.attributes.items():
            if name.startswith("r_") and name[2:] not in free and (asset_id, name[2:]) not in left:
                assert mine.get(name) == value, f"{asset.product} {asset_id}: {name} is {mine.get(name)}, not {value}"


def left_out(plan: Plan) -> set[tuple[str, str]]:
    """Assets, and the code of work that was done for them and then once more without them: what it has said stays."""
    assert plan.template is not None
    newest: dict[tuple[str, Any], frozenset[int]] = {}
    found: set[tuple[str, str]] = set()
    for node in reversed(plan.template.nodes):
        if node.role in ("", REDO):
            last = newest.setdefault((node.ref, node.instance), frozenset(node.lines))
            code = node.ref.partition("/")[2]
            found |= {(plan.lines[line].asset_id, code) for line in node.lines if line not in last}
    return found


def _is_free(item: Any) -> bool:
    """Whether the definition allows that what was done stays done with other values, or reads but one of its lines."""
    return item.definition.on_amend in ("nothing", "amendPlan") or item.definition.request is not None


# Work outside.


def done_of(plan: Plan, book: Book) -> dict[tuple[str, Any], list[Work]]:
    """By slot (definition and scope instance): what was done and is not undone, the newest last."""
    assert plan.template is not None
    gone = undone_nodes(plan, book)
    found: dict[tuple[str, Any], list[Work]] = {}
    for work in book.works:
        node = plan.template.nodes[work.node]
        if work.is_work and node.role in ("", REDO):
            slot = (node.ref, slot_name(plan, node.instance))
            if work.node in gone:
                # Undoing the newest takes back the effect of all before it, too.
                found.pop(slot, None)
            else:
                found.setdefault(slot, []).append(work)
    return found


def slot_name(plan: Plan, instance: tuple[str, Any]) -> str:
    """The scope instance by name."""
    kind, value = instance
    return plan.lines[value].key if kind == "line" else str(value)


def undone_nodes(plan: Plan, book: Book) -> set[int]:
    """The items that rollback plans have undone: of a group those that were done, together."""
    assert plan.template is not None
    found: set[int] = set()
    for each in book.undone:
        found |= undone_by(plan, plan.by_key[each.key].node)
    return found


def undone_by(plan: Plan, undo: int) -> set[int]:
    """The items that an item of a rollback plan undoes: of a group all that its change was to undo."""
    assert plan.template is not None
    node = plan.template.nodes[undo]
    assert node.of is not None
    return {node.of, *node.also}


def undone_once(case: Case) -> None:
    """No item is undone twice, and none that was never done."""
    plan, book = case.plan, case.world.books[case.plan.order_id]
    assert plan.template is not None
    done_at = {work.node: work.number for work in book.works}
    seen: dict[tuple[int, str], str] = {}
    for item in plan.items:
        node = plan.template.nodes[item.node]
        if node.role != UNDO:
            continue
        assert node.of is not None
        for of in undone_by(plan, item.node):
            assert of in done_at, f"{plan.items[of].key} is undone and was never done"
            assert (of, node.ref) not in seen, f"{plan.items[of].key} is undone twice: {seen[of, node.ref]}, {item.key}"
            seen[of, node.ref] = item.key


def undone_once_by_slot(case: Case) -> None:
    """Between two undoings of the same work it was done once more."""
    plan, book = case.plan, case.world.books[case.plan.order_id]
    assert plan.template is not None
    nodes = plan.template.nodes
    done: dict[tuple[str, Any], list[int]] = {}
    for work in book.works:
        done.setdefault((nodes[work.node].ref, slot_name(plan, nodes[work.node].instance)), []).append(work.number)
    undone: dict[tuple[str, Any], set[int]] = {}
    for item in plan.items:
        for of in undone_by(plan, item.node) if nodes[item.node].role == UNDO else ():
            slot = (nodes[of].ref, slot_name(plan, nodes[of].instance))
            undone.setdefault(slot, set()).add(book.made[item.key])
    for slot, made in undone.items():
        for earlier, later in pairwise(sorted(made)):
            assert any(earlier < number < later for number in done[slot]), f"{slot} is undone twice, and was done once"


def redone_after_undoing(case: Case) -> None:
    """What is undone and done again is done when the undoing has ended."""
    plan, book = case.plan, case.world.books[case.plan.order_id]
    assert plan.template is not None
    ended = {each.of: each.number for each in book.undone}
    for item in plan.items:
        node = plan.template.nodes[item.node]
        begun = book.begun.get(item.key)
        if node.role != REDO or begun is None or node.of not in ended or item.definition is None:
            continue
        if item.definition.on_amend == "undoThenRedo" and item.definition.source.freeze == "wait":
            assert begun > ended[node.of], f"{item.key} has begun before what it does again was undone"


def nothing_is_adapted_after(case: Case, works: list[Work]) -> None:
    """Work that nobody needs any more is not brought in line with an amendment either."""
    plan, book = case.plan, case.world.books[case.plan.order_id]
    assert plan.template is not None
    for work in works:
        if plan.template.nodes[work.node].role == AMEND:
            assert book.begun.get(work.key, 0) < case.cancelled_at, f"{work.key} begins in a cancelled order"


def whole_cancel(case: Case) -> None:
    """After the cancellation of the whole order everything that was done and can be undone is undone."""
    plan, book = case.plan, case.world.books[case.plan.order_id]
    assert plan.template is not None
    nothing_is_adapted_after(case, book.works)
    works = [work for work in book.works if work.is_work and plan.template.nodes[work.node].role in ("", REDO)]
    gone = undone_nodes(plan, book)
    last: dict[tuple[str, Any], Work] = {}
    for work in works:
        node = plan.template.nodes[work.node]
        last[node.ref, slot_name(plan, node.instance)] = work
    is_undoable = True
    for work in last.values():
        definition = plan.items[work.node].definition
        assert definition is not None
        if definition.rollback_refs:
            assert work.node in gone, f"{work.key} was done and is not undone"
        elif work.is_work:
            is_undoable = False
    if works:
        case.counts["cancelled after work"] += 1
        case.counts["cancelled after work, all undoable"] += is_undoable
    if not case.has_operators:
        in_reverse(case, last)


def in_reverse(case: Case, last: dict[tuple[str, Any], Work]) -> None:
    """What was done because something else was done is undone before that."""
    plan, book = case.plan, case.world.books[case.plan.order_id]
    begun: dict[int, int] = {}
    ended: dict[int, int] = {}
    made = {each.of: each.made for each in book.undone}
    for each in book.undone:
        begun[each.of] = min(begun.get(each.of, each.begun), each.begun)
        ended[each.of] = max(ended.get(each.of, each.number), each.number)
    assert plan.template is not None
    nodes = {work.node for work in last.values()} & begun.keys()
    for node in sorted(nodes):
        for before in _before(plan, node) & nodes:
            # An earlier change may have taken back what something stands on that only a later one does.
            assert ended[node] < begun[before] or made[before] < made[node], (
                f"{plan.items[before].key} is undone before {plan.items[node].key}, which was done after it"
            )


def _before(plan: Plan, node: int) -> set[int]:
    assert plan.template is not None
    template = plan.template
    found: set[int] = set()
    waiting = [node]
    while waiting:
        at = waiting.pop()
        above = list(template.waits[at])
        for each in template.waits[at]:
            above.extend(template.children.get(each, ()))
        if at in template.parents:
            above.append(template.parents[at])
        for each in above:
            if each not in found:
                found.add(each)
                waiting.append(each)
    return found


def adapted_with(plan: Plan, book: Book, works: list[Work]) -> Any:
    """What the amend plan of some work was last done with."""
    assert plan.template is not None
    nodes = {work.node for work in works}
    saw = None
    for work in book.works:
        node = plan.template.nodes[work.node]
        if node.role == AMEND and node.of in nodes and work.saw is not None:
            saw = work.saw
    return saw


def same_work(case: Case, plan: Plan, twin: World, other: Plan, *, is_back: bool) -> None:
    """What stands done at the end is what the final order has done from the start, with the same values."""
    assert plan.template is not None
    if is_back:
        # What is brought back to the order lines sooner or later may be what a condition reads.
        return
    ours = done_of(plan, case.world.books[plan.order_id])
    theirs = done_of(other, twin.books[other.order_id])
    touched = case.world.books[plan.order_id].touched
    for slot, works in theirs.items():
        last = works[-1]
        item = plan.by_key.get(last.key)
        assert item is not None, f"{last.key} is work of the final order, and the plan has none of it"
        definition = item.definition
        assert definition is not None
        mine = ours.get(slot)
        if any(key.split("~")[0] == last.key for key in touched):
            continue
        assert mine, f"{last.key} is work of the final order, and was not done"
        if definition.on_amend == "nothing":
            continue
        if definition.on_amend == "amendPlan":
            is_fitted = not case.has_operators and definition.request is None
            if is_fitted and mine[-1].saw != last.saw:
                fitted = adapted_with(plan, case.world.books[plan.order_id], mine)
                assert fitted == last.saw, f"{last.key} was adapted to {fitted}, the order says {last.saw}"
            continue
        assert mine[-1].saw == last.saw, f"{last.key} was last done with {mine[-1].saw}, the order says {last.saw}"
    assert other.template is not None
    composed = {(node.ref, slot_name(other, node.instance)) for node in other.template.nodes}
    for slot in ours.keys() - theirs.keys() - composed:
        # What the final order would skip is let alone: nobody undoes it for that.
        item = plan.items[ours[slot][-1].node]
        is_touched = item.key.split("~")[0] in {key.split("~")[0] for key in touched}
        if item.definition is not None and item.definition.rollback_refs and not is_touched:
            raise AssertionError(f"{item.key} was done, nobody needs it, and it is not undone ({item.state})")
