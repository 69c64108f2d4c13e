"""Import of a TMF620/TMF633 catalogue: product specifications and offerings become a release that can be published.

Such a catalogue says what relies on what, not how to deliver it, so one rule turns it into plans:

- every specification is a technical product with two plan definitions of one callout each, scope item: `Deliver <name>`
  (lines that are added or modified) and `Remove <name>` (lines that are deleted);
- `A reliesOn B` makes Deliver A wait for Deliver B, and Remove B wait for Remove A, inside the bundle;
- an offering is a commercial product without work, never an asset: the order's own line for the specification is what
  is delivered, and its `sells` relation is the lineage.

What the rule does not use is listed as findings. Circles of `reliesOn` are imported as they are: publishing names them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal

from pydantic import ValidationError

from domain.catalogue import (
    Action,
    Attribute,
    Dependency,
    Item,
    ItemRef,
    ItemType,
    Plan,
    Product,
    Release,
    Retry,
    Scenario,
    Scope,
    System,
)
from domain.errors import BadRelease

DELIVER: Final = "deliver"
REMOVE: Final = "remove"
RELIES_ON: Final = "reliesOn"
_PROBLEMS_MAX: Final = 200
_NAME_MAX: Final = 120
_SYSTEM_UNNAMED: Final = "fulfilment"

_VALUE_TYPES: Final[Mapping[str, Literal["string", "integer", "number", "boolean", "object", "any"]]] = {
    "string": "string",
    "text": "string",
    "integer": "integer",
    "int": "integer",
    "number": "number",
    "decimal": "number",
    "float": "number",
    "boolean": "boolean",
    "object": "object",
    "any": "any",
}
_TOP_KNOWN: Final = frozenset({"about", "compileRule", "code", "id", "name", "productSpecification", "productOffering"})
# Members that describe, and change nothing about the plan: passed over without a finding.
_DESCRIBING: Final = frozenset(
    {"id", "href", "name", "description", "version", "lifecycleStatus", "lastUpdate", "brand", "productNumber"}
)
_SPECIFICATION_KNOWN: Final = _DESCRIBING | {
    "isBundle", "productSpecCharacteristic", "productSpecificationRelationship", "x-kind"
}
_OFFERING_KNOWN: Final = _DESCRIBING | {"isSellable", "isBundle", "statusReason"}
_CHARACTERISTIC_KNOWN: Final = frozenset(
    {"id", "name", "description", "valueType", "configurable", "x-assetizable", "x-encrypted", "x-significant"}
)


def import_tmf620(document: dict[str, Any], bindings: dict[str, Any] | None, version: str) -> tuple[Release, list[str]]:
    """Turn a catalogue document into a release.

    Args:
        document: lists `productSpecification` and `productOffering` of TMF620 resources. Our own members are honoured:
            `x-kind` of a specification, `x-assetizable`, `x-encrypted` and `x-significant` of a characteristic.
        bindings: what the catalogue cannot say: `systems` (x-kind, specification id or name -> system code; the id
            counts before the name, the name before the kind), `retry` ({"code", "attemptsMax", "delaysS"}), `timeoutS`
            and `code` of the release. Without them a system is called after the x-kind (`stock item`: `stock-item`).
        version: of the release.
    Returns:
        The release, and one sentence for each part of the catalogue that it does not use.
    Raises:
        BadRelease: the document or the bindings have another shape; the path is that of the first problem, the fact
            `problems` lists all of them as texts.
    """
    return _Import(document, {} if bindings is None else bindings, version).run()


class _Problems:
    """Every reason against the import, so that a designer mends them in one go."""

    def __init__(self) -> None:
        self.found: list[tuple[str, str]] = []

    def add(self, path: str, reason: str) -> None:
        self.found.append((path, reason))

    def raise_if_any(self) -> None:
        if self.found:
            path, reason = self.found[0]
            problems = [f"{where}: {why}" for where, why in self.found[:_PROBLEMS_MAX]]
            raise BadRelease(reason, path=path, problems=problems, mend="mend the catalogue and import it again")


class _Import:
    """One catalogue on its way in."""

    def __init__(self, document: Any, bindings: Any, version: str) -> None:
        self.document = document
        self.bindings = bindings
        self.version = version
        self.problems = _Problems()
        self.findings: list[str] = []
        self.unused: Counter[str] = Counter()
        self.first_unused: dict[str, str] = {}
        self.bound: dict[str, str] = {}
        self.used_bindings: set[str] = set()

    def run(self) -> tuple[Release, list[str]]:
        if not isinstance(self.document, dict):
            self.problems.add("$", "a catalogue is an object with productSpecification and productOffering")
        if not isinstance(self.bindings, dict):
            self.problems.add("bindings", "must be an object")
        self.problems.raise_if_any()
        self._note_unused(self.document, _TOP_KNOWN, "", "")
        retry = self._read_bindings()
        specifications = self._elements("productSpecification")
        offerings = self._elements("productOffering")
        if not specifications and not self.problems.found:
            self.problems.add("productSpecification", "the catalogue has none: there is nothing to deliver")
        self._refuse_same_names(specifications)
        codes = _codes({each["id"]: each["name"] for _, each in specifications}, "")
        attributes = {each["id"]: self._attributes(path, each) for path, each in specifications}
        relies_on = {each["id"]: self._relied_on(path, each, codes) for path, each in specifications}
        systems = {each["id"]: self._system(path, each) for path, each in specifications}
        for path, each in specifications:
            self._note_unused(each, _SPECIFICATION_KNOWN, path, "productSpecification")
        for path, each in offerings:
            self._check_offering(path, each, codes)
        self.problems.raise_if_any()
        release = self._release(specifications, offerings, codes, attributes, relies_on, systems, retry)
        for key in sorted(self.bound.keys() - self.used_bindings):
            self.findings.append(f"bindings.systems: {key!r} is no id, name or x-kind of a specification")
        for member, count in self.unused.items():
            more = f" ({count} times)" if count > 1 else ""
            self.findings.append(f"{self.first_unused[member]}: {member} is not imported{more}")
        return release, self.findings

    # Reading

    def _elements(self, member: str) -> list[tuple[str, dict[str, Any]]]:
        """Path and content of each element of a list that has id and name."""
        given = _list_in(self.document, member)
        if not isinstance(given, list):
            self.problems.add(member, "must be a list")
            return []
        elements = []
        seen: dict[str, str] = {}
        for index, each in enumerate(given):
            path = f"{member}[{index}]"
            if not isinstance(each, dict):
                self.problems.add(path, "must be an object")
                continue
            sound = True
            for name in ("id", "name"):
                value = each.get(name)
                if not isinstance(value, str) or not value.strip() or len(value) > 200:
                    self.problems.add(f"{path}.{name}", "must be a text of 1 to 200 characters")
                    sound = False
            if not sound:
                continue
            if each["id"] in seen:
                self.problems.add(f"{path}.id", f"{each['id']!r} is already the id of {seen[each['id']]}")
                continue
            seen[each["id"]] = path
            elements.append((path, each))
        return elements

    def _refuse_same_names(self, specifications: Iterable[tuple[str, dict[str, Any]]]) -> None:
        """Plans are called after their specification, and people tell them apart by that name."""
        seen: dict[str, str] = {}
        for path, each in specifications:
            other = seen.setdefault(each["name"], path)
            if other != path:
                self.problems.add(f"{path}.name", f"{each['name']!r} is already the name of {other}")

    def _attributes(self, path: str, specification: Mapping[str, Any]) -> tuple[Attribute, ...]:
        given = _list_in(specification, "productSpecCharacteristic")
        path = f"{path}.productSpecCharacteristic"
        if not isinstance(given, list):
            self.problems.add(path, "must be a list")
            return ()
        attributes: dict[str, Attribute] = {}
        for index, each in enumerate(given):
            here = f"{path}[{index}]"
            if not isinstance(each, dict):
                self.problems.add(here, "must be an object")
                continue
            name = each.get("name")
            if not isinstance(name, str) or not 0 < len(name) <= 200:
                self.problems.add(f"{here}.name", "must be a text of 1 to 200 characters")
                continue
            if name in attributes:
                self.problems.add(f"{here}.name", f"the specification already has a characteristic {name!r}")
                continue
            self._note_unused(each, _CHARACTERISTIC_KNOWN, here, "productSpecCharacteristic")
            attributes[name] = Attribute(
                name=name,
                type=self._value_type(each, here),
                assetizable=self._flag(each, "x-assetizable", True, here),
                encrypted=self._flag(each, "x-encrypted", False, here),
                significant=self._flag(each, "x-significant", True, here),
            )
        return tuple(attributes.values())

    def _value_type(
        self, characteristic: Mapping[str, Any], path: str
    ) -> Literal["string", "integer", "number", "boolean", "object", "any"]:
        given = characteristic.get("valueType")
        if given is None:
            return "any"
        if not isinstance(given, str):
            self.problems.add(f"{path}.valueType", "must be a text")
            return "any"
        known = _VALUE_TYPES.get(given.lower())
        if known is None:
            self.findings.append(f"{path}.valueType: {given!r} is not known, values of any type are taken")
            return "any"
        return known

    def _flag(self, characteristic: Mapping[str, Any], name: str, default: bool, path: str) -> bool:
        value = characteristic.get(name, default)
        if not isinstance(value, bool):
            # Guessing here could keep a value that must not stay.
            self.problems.add(f"{path}.{name}", "must be true or false")
            return default
        return value

    def _relied_on(self, path: str, specification: Mapping[str, Any], codes: Mapping[str, str]) -> tuple[str, ...]:
        given = _list_in(specification, "productSpecificationRelationship")
        path = f"{path}.productSpecificationRelationship"
        if not isinstance(given, list):
            self.problems.add(path, "must be a list")
            return ()
        targets: dict[str, None] = {}
        for index, each in enumerate(given):
            here = f"{path}[{index}]"
            if not isinstance(each, dict):
                self.problems.add(here, "must be an object")
                continue
            kind, target = each.get("relationshipType"), each.get("id")
            if not isinstance(kind, str):
                self.problems.add(f"{here}.relationshipType", "must be a text")
            elif kind != RELIES_ON:
                self._count_unused(f"relationshipType {kind!r} of specifications", here)
            elif not isinstance(target, str) or target not in codes:
                self.problems.add(
                    f"{here}.id", f"reliesOn names {target!r}, which is no specification of this catalogue"
                )
            elif target in targets:
                self.findings.append(f"{here}: reliesOn {codes[target]!r} stands there twice, once counts")
            else:
                targets[target] = None
        return tuple(targets)

    def _check_offering(self, path: str, offering: Mapping[str, Any], codes: Mapping[str, str]) -> None:
        self._note_unused(offering, _OFFERING_KNOWN, path, "productOffering")
        reference = offering.get("productSpecification")
        if reference is None:
            return
        if not isinstance(reference, dict) or not isinstance(reference.get("id"), str):
            self.problems.add(f"{path}.productSpecification", "must be an object with an id")
        elif reference["id"] not in codes:
            self.findings.append(
                f"{path}.productSpecification: {reference['id']!r} is no specification of this catalogue"
            )

    # Bindings

    def _read_bindings(self) -> Retry | None:
        for name in (each for each in self.bindings if each not in ("systems", "retry", "timeoutS", "code")):
            self.problems.add(f"bindings.{name}", "is not known; there are systems, retry, timeoutS and code")
        systems = {} if self.bindings.get("systems") is None else self.bindings["systems"]
        if not isinstance(systems, dict):
            self.problems.add("bindings.systems", "must be an object: kind, specification id or name -> system code")
            systems = {}
        for key, code in systems.items():
            try:
                self.bound[str(key)] = System(code=code).code
            except ValidationError as error:
                self.problems.add(f"bindings.systems.{key}", _reasons(error)[0][1])
        timeout_s = self.bindings.get("timeoutS", 30.0)
        if isinstance(timeout_s, bool) or not isinstance(timeout_s, int | float) or not 0 < timeout_s <= 366 * 86400:
            self.problems.add("bindings.timeoutS", "must be a number of seconds above 0, at most a year")
        retry = self.bindings.get("retry")
        if retry is None:
            return None
        if not isinstance(retry, dict):
            self.problems.add("bindings.retry", "must be an object with attemptsMax and delaysS")
            return None
        try:
            return Retry.model_validate({"code": "standard", **retry})
        except ValidationError as error:
            for path, reason in _reasons(error):
                self.problems.add(f"bindings.retry.{path}", reason)
            return None

    def _system(self, path: str, specification: Mapping[str, Any]) -> str:
        kind = specification.get("x-kind")
        if kind is not None and (not isinstance(kind, str) or not _slug(kind)):
            self.problems.add(f"{path}.x-kind", "must be a text with a letter or digit in it")
            return _SYSTEM_UNNAMED
        keys = [specification["id"], specification["name"]]
        if kind is not None:
            keys += [kind, _slug(kind)]
        for key in keys:
            if key in self.bound:
                self.used_bindings.add(key)
                return self.bound[key]
        code = _slug(kind) if kind is not None else _SYSTEM_UNNAMED
        if self.bound or kind is None:
            self.findings.append(f"{path}: no binding for {specification['name']!r}, its system is {code!r}")
        return code

    # Building

    def _release(
        self,
        specifications: list[tuple[str, dict[str, Any]]],
        offerings: list[tuple[str, dict[str, Any]]],
        codes: Mapping[str, str],
        attributes: Mapping[str, tuple[Attribute, ...]],
        relies_on: Mapping[str, tuple[str, ...]],
        systems: Mapping[str, str],
        retry: Retry | None,
    ) -> Release:
        offer_codes = _codes({each["id"]: each["name"] for _, each in offerings}, "offer:")
        products: list[Product] = []
        plans: list[Plan] = []
        scenarios: list[Scenario] = []
        dependencies: list[Dependency] = []
        code = self.bindings.get("code") or self.document.get("code") or self.document.get("name") or "tmf620"
        try:
            for _, each in specifications:
                spec_id = each["id"]
                products.append(
                    Product(code=codes[spec_id], name=each["name"], external_id=spec_id, attributes=attributes[spec_id])
                )
                for operation, actions in ((DELIVER, (Action.ADD, Action.MODIFY)), (REMOVE, (Action.DELETE,))):
                    plan = _plan_code(operation, codes[spec_id])
                    item = Item(
                        code=operation,
                        name=f"{operation.capitalize()} {each['name']}",
                        type=ItemType.CALLOUT,
                        system=systems[spec_id],
                        operation=operation,
                        retry=retry.code if retry else None,
                        timeout_s=self.bindings.get("timeoutS", 30.0),
                    )
                    plans.append(Plan(code=plan, name=item.name, scope=Scope.ITEM, items=(item,)))
                    scenarios.append(Scenario(plan=plan, product=codes[spec_id], actions=actions))
                for target in relies_on[spec_id]:
                    dependencies += [
                        _dependency(DELIVER, codes[spec_id], codes[target], "dependsOn"),
                        _dependency(REMOVE, codes[spec_id], codes[target], "processedBefore"),
                    ]
            products += [
                Product(
                    code=offer_codes[each["id"]],
                    name=each["name"],
                    kind="commercial",
                    external_id=each["id"],
                    asset=False,
                )
                for _, each in offerings
            ]
            release = Release(
                code=code,
                version=self.version,
                products=tuple(products),
                plans=tuple(plans),
                dependencies=tuple(dependencies),
                scenarios=tuple(scenarios),
                retries=(retry,) if retry else (),
                systems=tuple(System(code=each) for each in dict.fromkeys(systems.values())),
            )
        except ValidationError as error:
            for path, reason in _reasons(error):
                self.problems.add(f"{error.title}.{path}", reason)
            self.problems.raise_if_any()
            raise
        return release

    # Findings

    def _note_unused(self, element: Mapping[str, Any], known: frozenset[str], path: str, of: str) -> None:
        for name, value in element.items():
            if name in known or name[:1] == "@" or value in (None, [], {}):
                continue
            self._count_unused(f"{of}.{name}" if of else name, path or name)

    def _count_unused(self, member: str, path: str) -> None:
        self.unused[member] += 1
        self.first_unused.setdefault(member, path)


def _list_in(element: Mapping[str, Any], member: str) -> Any:
    """What stands in place of a list; a member that is absent or null is an empty one."""
    return [] if element.get(member) is None else element[member]


def _codes(names: Mapping[str, str], prefix: str) -> dict[str, str]:
    """A readable code for each id: the name, with the id behind it where two names give the same code.

    All that share a name get their id, not only the later ones: the code must not depend on the order of the file.
    """
    plain = {each_id: prefix + _readable(name) for each_id, name in names.items()}
    uses = Counter(plain.values())
    return {
        each_id: code if uses[code] == 1 else f"{code} ({_readable(each_id)[:60]})" for each_id, code in plain.items()
    }


def _readable(name: str) -> str:
    """The name without the characters that codes may not have."""
    return re.sub(r"[\x00-\x1f@~]+", "_", name.strip())[:_NAME_MAX]


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def _plan_code(operation: str, product: str) -> str:
    return f"{operation.capitalize()} {product}"


def _dependency(
    operation: str, product: str, relied_on: str, kind: Literal["dependsOn", "processedBefore"]
) -> Dependency:
    item, other = (ItemRef(plan=_plan_code(operation, each), item=operation) for each in (product, relied_on))
    return Dependency(item=item, other=other, type=kind, scope=Scope.BUNDLE)


def _reasons(error: ValidationError) -> list[tuple[str, str]]:
    return [(".".join(str(part) for part in each["loc"]), each["msg"]) for each in error.errors(include_url=False)]
