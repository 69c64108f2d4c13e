"""What differs between two releases, and which items of running orders that touches.

Releases are compared in their file form with every default filled in, element by element. An element is found again in
the other release by its name (a plan and a code, the two ends of a dependency, what a scenario chooses for whom), so
that moving it inside the file is no difference. Of several elements with one name those that are equal go together,
the others in their order. A renamed element is one removed and one added: nothing says that they are the same.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import zip_longest
from typing import Any, Final, Literal, NamedTuple

from domain.catalogue import Release
from domain.release import release_id_of

Document = Mapping[str, Any]


class _Absent:
    """Stands for a member that one side does not have; null is a value."""


ABSENT: Final = _Absent()


class FieldChange(NamedTuple):
    """A member that differs: `path` as in the file (`request.speed`); a side that has none is ABSENT."""

    path: str
    before: Any
    after: Any

    def to_dict(self) -> dict[str, Any]:
        """`from` and `to` are left out where the side has no such member."""
        sides = (("from", self.before), ("to", self.after))
        return {"path": self.path} | {name: value for name, value in sides if value is not ABSENT}


class ElementChange(NamedTuple):
    """An element of a kind that is added, removed or changed.

    `value` is the element (of an added or removed one), without what is default; `fields` is what differs (of a changed
    one).
    """

    kind: str
    name: str
    change: Literal["added", "removed", "changed"]
    value: Document | None = None
    fields: tuple[FieldChange, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """For programs."""
        shown: dict[str, Any] = {"kind": self.kind, "name": self.name, "change": self.change}
        if self.value is not None:
            shown["value"] = dict(self.value)
        if self.fields:
            shown["fields"] = [each.to_dict() for each in self.fields]
        return shown


class Touch(StrEnum):
    """From when on a change matters to an item of an order that would be on the other release, the most first."""

    PRESENCE = "presence"
    """The item is there or it is not."""
    WORK = "work"
    """What is done is another thing: what is done already was done in the old way."""
    RESULT = "result"
    """What becomes of its result, or who gets it and how often: as long as it has not ended."""
    START = "start"
    """When, or whether, it begins: as long as it has not begun."""
    CHANGE = "change"
    """What an amendment or a cancellation of the order does with it."""
    SHOWN = "shown"
    """How it is named and planned; nothing is done in another way."""


class Effect(NamedTuple):
    """An item definition that differs in one way, and by what; one that differs in several ways has several."""

    item: str
    touch: Touch
    why: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """For programs."""
        return {"item": self.item, "touch": self.touch.value, "why": list(self.why)}


@dataclass(frozen=True, slots=True)
class ReleaseDiff:
    """All differences, by kinds in the order of KINDS and then by name; and what they mean for items."""

    before: str
    after: str
    changes: tuple[ElementChange, ...]
    effects: tuple[Effect, ...]
    lines: tuple[str, ...] = ()
    """Products whose lines could come out otherwise: other attributes, other rules that make them."""

    def to_dict(self) -> dict[str, Any]:
        """For programs."""
        counts = {name: sum(each.change == name for each in self.changes) for name in ("added", "removed", "changed")}
        return {
            "from": self.before,
            "to": self.after,
            **counts,
            "changes": [each.to_dict() for each in self.changes],
            "effects": [each.to_dict() for each in self.effects],
            "lines": list(self.lines),
        }


TOUCHES: Final[Mapping[str, Touch]] = {
    "type": Touch.WORK,
    "scope": Touch.WORK,
    "scopeKey": Touch.WORK,
    "system": Touch.WORK,
    "operation": Touch.WORK,
    "task": Touch.WORK,
    "subPlan": Touch.WORK,
    "request": Touch.WORK,
    "form": Touch.WORK,
    "formSchema": Touch.WORK,
    "response": Touch.RESULT,
    "event": Touch.RESULT,
    "eventTimeoutS": Touch.RESULT,
    "queue": Touch.RESULT,
    "skills": Touch.RESULT,
    "retry": Touch.RESULT,
    "timeoutS": Touch.RESULT,
    "errorQueue": Touch.RESULT,
    # Once it has begun the bundle is past it or is not: that is not looked at again.
    "pointOfNoReturn": Touch.START,
    "condition": Touch.START,
    "skipBranch": Touch.START,
    "processAfter": Touch.START,
    "onAmend": Touch.CHANGE,
    "amendPlan": Touch.CHANGE,
    "rollbackPlan": Touch.CHANGE,
    "rollbackGroup": Touch.CHANGE,
    "leavesNothing": Touch.CHANGE,
    "freeze": Touch.CHANGE,
    "name": Touch.SHOWN,
    "durationS": Touch.SHOWN,
    "safetyIntervalS": Touch.SHOWN,
}
"""What a change of each member of an item touches."""


class _Element(NamedTuple):
    kind: str
    name: str
    full: Document
    """With every default."""
    brief: Document
    """Without them."""
    outer: str = ""
    """What it is inside of: an item's plan, an attribute's product."""


_Pair = tuple[_Element | None, _Element | None]
"""An element before and after; at least one of them."""


class _Kind(NamedTuple):
    """How elements of a kind are found in a release, and named."""

    kind: str
    part: str
    name: Callable[[Document], str]
    without: frozenset[str] = frozenset()
    """Members that are kinds of their own."""


def _code(element: Document) -> str:
    return str(element["code"])


def _scenario(element: Document) -> str:
    subject = element.get("product") or f"class {element.get('class')}"
    return f"{subject} -> {element['plan']}"


def _dependency(element: Document) -> str:
    return f"{_ref(element['item'])} on {_ref(element['other'])}"


def _ref(end: Document) -> str:
    return f"{end['plan']}/{end['item']}"


_TOP: Final = (
    _Kind("product", "products", _code, frozenset({"attributes"})),
    _Kind("class", "classes", _code),
    _Kind("decomposition", "decompositions", lambda each: str(each["name"])),
    _Kind("scenario", "scenarios", _scenario),
    _Kind("plan", "plans", _code, frozenset({"items"})),
    _Kind("dependency", "dependencies", _dependency),
    _Kind("retry", "retries", _code),
    _Kind("system", "systems", _code),
    _Kind("queue", "queues", _code),
)
_NESTED: Final = {
    "product": ("attribute", "attributes", "name"),
    "plan": ("item", "items", "code"),
}
"""Kind -> the kind of the elements inside it, their part and what names them; the whole name begins with the outer."""
KINDS: Final = (
    "release", "product", "attribute", "class", "decomposition", "scenario", "plan", "item", "dependency", "retry",
    "system", "queue",
)  # fmt: skip
_KEYED: Final = {"map": "to", "form": "name", "skills": "skill"}
"""Lists inside elements whose parts are found again by a member; other lists are compared as wholes."""


def diff_releases(before: Release, after: Release) -> ReleaseDiff:
    """What differs between two releases. Their own codes and versions do not count."""
    ours, theirs = _elements(before), _elements(after)
    pairs = [pair for kind in KINDS for pair in _pairs(ours[kind], theirs[kind])]
    shared = {each.name: each for each in ours["item"]}, {each.name: each for each in theirs["item"]}
    return ReleaseDiff(
        release_id_of(before),
        release_id_of(after),
        tuple(_change(*pair) for pair in pairs),
        tuple(_effects(pairs, *shared)),
        tuple(sorted(set(_lines(pairs)))),
    )


def _elements(release: Release) -> dict[str, list[_Element]]:
    """The elements of a release by kind."""
    full = release.model_dump(mode="json", by_alias=True)
    brief = release.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    found: dict[str, list[_Element]] = defaultdict(list)
    parts = {each.part for each in _TOP} | {"format", "code", "version"}
    own = {name: value for name, value in full.items() if name not in parts}
    found["release"].append(_Element("release", "release", own, own))
    for kind, part, name_of, without in _TOP:
        for whole, short in zip(full[part], brief.get(part, ()), strict=True):
            name = name_of(whole)
            found[kind].append(_Element(kind, name, _but(whole, without), _but(short, without)))
            if kind in _NESTED:
                inner, members, named = _NESTED[kind]
                for each, brief_each in zip(whole[members], short.get(members, ()), strict=True):
                    found[inner].append(_Element(inner, f"{name}/{each[named]}", each, brief_each, name))
    return found


def _but(element: Document, without: frozenset[str]) -> Document:
    return {name: value for name, value in element.items() if name not in without}


def _pairs(ours: Sequence[_Element], theirs: Sequence[_Element]) -> Iterator[_Pair]:
    """The elements of a kind that differ, each beside what it has become, by name."""
    before, after = _by_name(ours), _by_name(theirs)
    for name in sorted(before.keys() | after.keys()):
        left, right = list(before[name]), list(after[name])
        for each in before[name]:
            same = next((other for other in right if other.full == each.full), None)
            if same is not None:
                left.remove(each)
                right.remove(same)
        yield from zip_longest(left, right)


def _change(one: _Element | None, other: _Element | None) -> ElementChange:
    if one is not None and other is not None:
        return ElementChange(one.kind, one.name, "changed", fields=tuple(_differences(one.full, other.full)))
    if one is not None:
        return ElementChange(one.kind, one.name, "removed", one.brief)
    assert other is not None, "a pair has an element"
    return ElementChange(other.kind, other.name, "added", other.brief)


def _by_name(elements: Iterable[_Element]) -> dict[str, list[_Element]]:
    found: dict[str, list[_Element]] = defaultdict(list)
    for each in elements:
        found[each.name].append(each)
    return found


def _differences(before: Any, after: Any, path: str = "") -> Iterator[FieldChange]:
    """The smallest members that differ between two values of one place."""
    if isinstance(before, list) and isinstance(after, list) and path in _KEYED:
        # Of the element itself: what a form's schema or a static value calls so is another thing.
        key = _KEYED[path]
        ours, theirs = ({f"[{part[key]}]": part for part in side} for side in (before, after))
        if len(ours) == len(before) and len(theirs) == len(after):
            yield from _members(ours, theirs, path, "")
            return
    if isinstance(before, dict) and isinstance(after, dict):
        yield from _members(before, after, path, "." if path else "")
    elif before != after or isinstance(before, bool) is not isinstance(after, bool):
        yield FieldChange(path, before, after)


def _members(before: Document, after: Document, path: str, joint: str) -> Iterator[FieldChange]:
    for name in dict.fromkeys((*before, *after)):
        place = f"{path}{joint}{name}"
        one, other = before.get(name, ABSENT), after.get(name, ABSENT)
        if one is ABSENT or other is ABSENT:
            yield FieldChange(place, one, other)
        else:
            yield from _differences(one, other, place)


# What it means.


_Named = Mapping[str, _Element]


def _effects(pairs: Iterable[_Pair], before: _Named, after: _Named) -> list[Effect]:
    """Items whose definition differs, by themselves or by what they hang on: by `touch`, the most first, then by name.

    `before` and `after` are all items by name.
    """
    found: dict[tuple[Touch, str], list[str]] = defaultdict(list)
    in_both = {name: (each, after[name]) for name, each in before.items() if name in after}
    for pair in pairs:
        change = _change(*pair)
        if change.kind == "item" and change.change != "changed":
            found[Touch.PRESENCE, change.name].append(change.change)
        for item, touch, why in _touched(change, pair, in_both):
            found[touch, item].append(why)
    effects = [Effect(item, touch, tuple(dict.fromkeys(why))) for (touch, item), why in found.items()]
    rank = {touch: place for place, touch in enumerate(Touch)}
    return sorted(effects, key=lambda each: (rank[each.touch], each.item))


def _touched(
    change: ElementChange, pair: _Pair, in_both: Mapping[str, tuple[_Element, _Element]]
) -> Iterator[tuple[str, Touch, str]]:
    """(item, touch, why) of each item of both releases that a change touches."""
    sides = [each.full for each in pair if each is not None]
    match change.kind:
        case "item":
            for field in change.fields:
                member = field.path.partition(".")[0].partition("[")[0]
                yield change.name, TOUCHES.get(member, Touch.WORK), field.path
        case "dependency":
            # Whoever waits, on either side: a dependency may have turned round. An item that comes or goes itself is
            # not said to wait otherwise.
            waits = {(_ref(each["other"]), _ref(each["item"])) for each in sides if each["type"] == "processedBefore"}
            waits |= {(_ref(each["item"]), _ref(each["other"])) for each in sides if each["type"] == "dependsOn"}
            for waiter, awaited in sorted(waits):
                if waiter in in_both:
                    yield waiter, Touch.START, f"dependency on {awaited} {change.change}"
        case "scenario":
            for name, (one, _) in in_both.items():
                if one.outer == sides[0]["plan"]:
                    yield name, Touch.PRESENCE, f"scenario {change.name} {change.change}"
        case "plan" if any(field.path == "scope" for field in change.fields):
            for name, (one, other) in in_both.items():
                # One without a scope of its own has that of its plan.
                if one.outer == change.name and (one.full["scope"], other.full["scope"]) == (None, None):
                    yield name, Touch.WORK, f"scope of plan {change.name}"
        case "retry":
            for name, (one, other) in in_both.items():
                if one.full["retry"] == change.name == other.full["retry"]:
                    yield name, Touch.RESULT, f"retry policy {change.name}"
        case _:
            return


def _lines(pairs: Iterable[_Pair]) -> Iterator[str]:
    """Products whose lines could come out otherwise."""
    for pair in pairs:
        change = _change(*pair)
        for each in pair:
            if each is None:
                continue
            if each.kind == "attribute":
                yield each.outer
            elif each.kind == "decomposition":
                yield str(each.full["target"])
            elif each.kind == "product" and [field.path for field in change.fields] != ["name"]:
                yield each.name
