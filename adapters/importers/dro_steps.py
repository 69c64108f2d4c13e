"""Step groups, steps and the rules about them: plan definitions, items, retries and durations."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any, Final

from adapters.importers.csv_tables import Row
from adapters.importers.dro_bindings import FlowCall
from adapters.importers.dro_source import FALLOUT, GROUP, INTEGRATION, JEOPARDY, QUEUE, STEP, USER, Source
from domain.catalogue import Item, ItemType, Plan, Queue, Retry, Scope, System

_TYPES: Final = {
    "Milestone": "milestone",
    "Callout": "callout",
    "AutoTask": "autoTask",
    "ManualTask": "manualTask",
    "Pause": "pause",
    "StagedAssetize": "assetize",
}
_SCOPES: Final = {
    "Plan": Scope.GLOBAL,
    "LineItem": Scope.ITEM,
    "OrderLineItem": Scope.ITEM,
    "Bundle": Scope.BUNDLE,
    "Order": Scope.ORDER,
    "Custom": Scope.KEY,
}
_UNITS_S: Final = {"Seconds": 1.0, "Minutes": 60.0, "Hours": 3600.0, "Days": 86400.0, "Weeks": 604800.0}
_POLICIES: Final = {"Immediate": "immediate", "Monotonous": "monotonous", "Staggered": "staggered", "NoRetry": "none"}
_SPAN_MAX_S: Final = 366 * 86400
_MINUTE_S: Final = 60.0
_INTEGRATION: Final = "IntegrationDefinitionName.DeveloperName"


@dataclass(slots=True)
class Work:
    """What the steps of an export become."""

    plans: list[Plan] = field(default_factory=list)
    groups: dict[str, list[str]] = field(default_factory=dict)
    """Step name -> the step groups that have a step of that name."""
    keys: dict[str, set[str]] = field(default_factory=dict)
    """Plan -> characteristics that name instances of its items."""
    systems: dict[str, System] = field(default_factory=dict)
    queues: dict[str, Queue] = field(default_factory=dict)
    members: dict[str, list[str]] = field(default_factory=dict)
    """Queue -> who is to work in it: environment."""
    retries: dict[str, Retry] = field(default_factory=dict)


def read_work(source: Source) -> Work:
    """Plans with their items, and what the items name."""
    return _Steps(source).read()


class _Steps:
    def __init__(self, source: Source) -> None:
        self.source = source
        self.work = Work()
        self.items: dict[str, dict[str, Item]] = {}
        self.users_of: dict[str, set[str]] = defaultdict(set)
        self.ambiguous: set[tuple[str, str]] = set()
        self.placeholders: dict[str, Row] = {}

    def read(self) -> Work:
        source, work = self.source, self.work
        for row in source.tables[GROUP]:
            name = source.name(row, "Name")
            if name in self.items:
                source.note(f"{row.where('Name')}: step group {name!r} stands there twice, once counts")
            elif name:
                self.items[name] = {}
        for row in source.tables[INTEGRATION]:
            name = source.name(row, "DeveloperName")
            if name:
                self._system(source.bindings.systems.get(name, name), name)
        rows = list(source.tables[STEP])
        for row in rows:
            if row["StepType"].casefold() == "manualtask" and row["AssignedTo.Name"]:
                self.users_of[row["StepDefinitionGroup.Name"]].add(row["AssignedTo.Name"])
        for table, flow_column in ((JEOPARDY, "FlowDefinition"), (FALLOUT, "FlowDefinitionName")):
            self._note_same_rules(table, flow_column)
        for row in rows:
            self._step(row)
        called = {item.system for items in self.items.values() for item in items.values()}
        for system in work.systems.values():
            if system.code not in called:
                source.note(f"{INTEGRATION}.csv: no step calls {system.name or system.code!r}")
        for user, row in self.placeholders.items():
            source.note(
                f"{row.where('AssignedTo.Name')}: {user!r} is a placeholder, not a user; bindings.users says who it is"
            )
        for name, items in self.items.items():
            work.plans.append(Plan(code=name, items=tuple(items.values())))
            work.keys[name] = {each.scope_key for each in items.values() if each.scope_key}
            if not items:
                source.note(f"step group {name!r} has no step")
        return work

    def _step(self, row: Row) -> None:
        source = self.source
        name = source.name(row, "Name")
        group = source.refers(row, "StepDefinitionGroup.Name", GROUP, self.items)
        source.must_say(row, "StepDefinitionGroup.Name", "say which group the step is of")
        source.must_say(row, "StepType", f"use one of {', '.join(_TYPES)}")
        kind = source.word(row, "StepType", _TYPES, "")
        if not name or group is None or not kind:
            return
        if name in self.items[group]:
            source.problems.add(
                row.where("Name"), f"group {group!r} already has a step {name!r}", "give each its own name"
            )
            return
        self._note_unread(row, kind)
        members: dict[str, Any] = {
            "code": name,
            "skip_branch": source.flag(row, "IsSkipBranch"),
            "point_of_no_return": source.word(
                row, "PointOfNoReturn", {"true": True, "false": False, "Always": True, "Never": False}, False
            ),
            "process_after": self._process_after(row),
            **self._scope(row),
            **self._work(row, kind, group),
            **self._durations(row),
        }
        self.items[group][name] = Item(**members)
        self.work.groups.setdefault(name, []).append(group)

    def _scope(self, row: Row) -> dict[str, Any]:
        source = self.source
        if not row["Scope"]:
            source.note(f"{row.where('Scope')}: is empty, so there is one {row['Name']!r} per fulfilment line")
        scope = source.word(row, "Scope", _SCOPES, Scope.ITEM)
        key = source.code(row, "CustomFulfillmentScope")
        if scope is Scope.KEY and not key:
            source.note(
                f"{row.where('CustomFulfillmentScope')}: is empty, so there is one {row['Name']!r} per fulfilment line"
            )
            return {"scope": Scope.ITEM}
        if scope is Scope.KEY:
            return {"scope": scope, "scope_key": key}
        if key:
            place = row.where("CustomFulfillmentScope")
            source.note(f"{place}: {key!r} does not count, because Scope is {row['Scope'] or 'empty'}")
        return {"scope": scope}

    def _work(self, row: Row, kind: str, group: str) -> dict[str, Any]:
        """What is done: type, and who does it."""
        match kind:
            case "milestone":
                return {"type": ItemType.MILESTONE}
            case "assetize":
                return {"type": ItemType.AUTO_TASK, "task": "assetize"}
            case "manualTask":
                return {"type": ItemType.MANUAL_TASK, "queue": self._queue(row, group)}
            case "pause":
                return self._pause(row)
            case "callout":
                name = row[_INTEGRATION]
                if not name:
                    self.source.problems.add(
                        row.where(_INTEGRATION), "is empty, and a callout needs one", "name the integration definition"
                    )
                    return {"type": ItemType.MILESTONE}
                return self._callout(row, self._integration(row), "")
        return self._auto_task(row)

    def _auto_task(self, row: Row) -> dict[str, Any]:
        source, flow = self.source, self.source.code(row, "FlowDefinitionName")
        if not flow and row[_INTEGRATION]:
            source.note(f"{row.where(_INTEGRATION)}: the auto task {row['Name']!r} names no flow, so it calls this")
            return self._callout(row, self._integration(row), "")
        if not flow:
            place = row.where("FlowDefinitionName")
            source.note(f"{place}: the auto task {row['Name']!r} names no flow and does nothing")
            return {"type": ItemType.AUTO_TASK, "task": "noop"}
        bound = source.bindings.flows.get(flow)
        if isinstance(bound, str):
            return {"type": ItemType.AUTO_TASK, "task": bound}
        if bound is None:
            source.note(
                f"{row.where('FlowDefinitionName')}: flow {flow!r} is not in the export; {row['Name']!r} calls a "
                "system of that name instead, unless bindings.flows says what does its work"
            )
            bound = FlowCall(system=flow)
        return self._callout(row, bound.system, bound.operation)

    def _integration(self, row: Row) -> str:
        name = self.source.code(row, _INTEGRATION)
        if self.source.tables[INTEGRATION].columns:
            known = [each["DeveloperName"] for each in self.source.tables[INTEGRATION]]
            name = self.source.refers(row, _INTEGRATION, INTEGRATION, known) or name
        return self.source.bindings.systems.get(name, name)

    def _callout(self, row: Row, system: str, operation: str) -> dict[str, Any]:
        if system:
            self._system(system, "")
        members: dict[str, Any] = {
            "type": ItemType.CALLOUT,
            "system": system or None,
            "operation": operation or _slug(row["Name"]),
            "retry": self._retry(row),
        }
        if self.source.bindings.timeout_s is not None:
            members["timeout_s"] = self.source.bindings.timeout_s
        return members

    def _system(self, code: str, name: str) -> None:
        self.work.systems.setdefault(code, System(code=code, name=name if name != code else ""))

    def _pause(self, row: Row) -> dict[str, Any]:
        """A pause waits for its resume rule; without one, until an operator or the API completes it."""
        event = self.source.bindings.events.get(row["Name"], "")
        if row["ResumeOnRule.Name"] and not event:
            self.source.note(
                f"{row.where('ResumeOnRule.Name')}: rule {row['ResumeOnRule.Name']!r} is not in the export, so an "
                f"operator completes {row['Name']!r}, unless bindings.events says what it waits for"
            )
        if not event and not row["ResumeOnRule.Name"]:
            self.source.note(f"{row.where()}: the pause {row['Name']!r} has no resume rule; an operator completes it")
        return {"type": ItemType.PUSH_EVENT, **({"event": event} if event else {})}

    def _queue(self, row: Row, group: str) -> str:
        """The queue of a person's work: a queue that the step names, else that of the step group and the user."""
        source, user = self.source, self.source.code(row, "AssignedTo.Name")
        queues = {each["Name"] for each in source.tables[QUEUE]}
        if user in queues:
            code = user
        else:
            code = group if len(self.users_of[group]) < 2 or not user else f"{group}: {user}"
            members = self.work.members.setdefault(code, [])
            member = source.bindings.users.get(user, user)
            if user and user not in source.bindings.users:
                if re.fullmatch(r"__.*__", user):
                    self.placeholders.setdefault(user, row)
                elif user not in {each["Name"] for each in source.tables[USER]}:
                    source.note(f"{row.where('AssignedTo.Name')}: {user!r} is neither in {USER}.csv nor in {QUEUE}.csv")
            if member and member not in members:
                members.append(member)
        self.work.queues.setdefault(code, Queue(code=code))
        self.work.members.setdefault(code, [])
        return code

    def _process_after(self, row: Row) -> str:
        source = self.source
        base = source.word(
            row, "ExecuteOn", {"SourceLineStartDate": "line.requestedStartAt", "Immediately": "", "Immediate": ""}, ""
        )
        delay = source.number(row, "DelayOf", _SPAN_MAX_S)
        delay_s = (delay or 0.0) * source.word(row, "DelayUnit", _UNITS_S, 60.0)
        if not base:
            if delay_s:
                place = row.where("DelayOf")
                source.note(f"{place}: a delay needs a date in ExecuteOn; {row['Name']!r} starts at once")
            return ""
        return f'timestamp({base}) + duration("{round(delay_s)}s")' if delay_s else base

    # Rules: the most specific one counts, then the lowest name.

    def _rule(self, table: str, row: Row, flow_column: str) -> Row | None:
        """The fallout or jeopardy rule for a step."""
        wanted = {
            "StepType": row["StepType"],
            flow_column: row["FlowDefinitionName"],
            "IntegrationDefinition.DeveloperName": row[_INTEGRATION],
        }
        fitting = [
            rule
            for rule in self.source.tables[table]
            if not rule["ErrorCode"] and all(rule[column] in ("", text) for column, text in wanted.items())
        ]
        if not fitting:
            return None
        selectors = {rule.line: sum(bool(rule[column]) for column in wanted) for rule in fitting}
        fitting.sort(key=lambda rule: (-selectors[rule.line], rule["Name"], rule.line))
        first = fitting[0]
        for rule in fitting[1:]:
            if selectors[rule.line] == selectors[first.line]:
                self._note_equal(first, rule)
        return first

    def _note_same_rules(self, table: str, flow_column: str) -> None:
        """Findings for rules about the same, also where no step is of that kind yet."""
        seen: dict[tuple[str, ...], list[Row]] = defaultdict(list)
        for rule in self.source.tables[table]:
            selectors = ("StepType", flow_column, "IntegrationDefinition.DeveloperName", "ErrorCode")
            seen[tuple(rule[column] for column in selectors)].append(rule)
        for rules in seen.values():
            first, *others = sorted(rules, key=lambda rule: (rule["Name"], rule.line))
            for other in others:
                self._note_equal(first, other)

    def _note_equal(self, first: Row, other: Row) -> None:
        pair = (first.where(), other.where())
        if pair not in self.ambiguous:
            self.ambiguous.add(pair)
            self.source.note(
                f"{other.where()}: rule {other['Name']!r} is as specific as {first['Name']!r} (line {first.line}) for "
                f"{first['StepType'] or 'every'} steps; the lowest name counts, so {first['Name']!r} does"
            )

    def _durations(self, row: Row) -> dict[str, Any]:
        rule = self._rule(JEOPARDY, row, "FlowDefinition")
        if rule is None:
            return {}
        found = {
            name: self._seconds(rule, column, f"{column}Unit")
            for name, column in (("duration_s", "EstimatedDuration"), ("safety_interval_s", "JeopardyThreshold"))
        }
        return {name: value for name, value in found.items() if value is not None}

    def _seconds(self, row: Row, column: str, unit_column: str) -> float | None:
        number = self.source.number(row, column, _SPAN_MAX_S)
        if number is None:
            return None
        self.source.must_say(row, unit_column, f"use one of {', '.join(_UNITS_S)}")
        return number * self.source.word(row, unit_column, _UNITS_S, 1.0)

    def _retry(self, row: Row) -> str | None:
        """The retry policy of a call; None where no rule fits."""
        rule = self._rule(FALLOUT, row, "FlowDefinitionName")
        if rule is None:
            return None
        code = f"fallout {self.source.code(rule, 'Name') or rule.line}"
        if code not in self.work.retries:
            self.work.retries[code] = self._policy(rule, code)
        return code

    def _policy(self, rule: Row, code: str) -> Retry:
        source = self.source
        if rule["FalloutQueue.Name"]:
            source.note(
                f"{rule.where('FalloutQueue.Name')}: the error queue is not imported; failed items are grouped "
                "by system and error"
            )
        policy = source.word(rule, "RetryPolicy", _POLICIES, "immediate")
        minutes = []
        for part in rule["RetryIntervals"].replace(";", ",").split(",") if rule["RetryIntervals"] else []:
            try:
                minutes.append(float(part))
            except ValueError:
                source.problems.add(
                    rule.where("RetryIntervals"), f"{part.strip()!r} is no number of minutes", "write 10 or 10,60,1440"
                )
        retries = source.number(rule, "RetriesAllowed", 999_999)
        if policy in ("monotonous", "staggered") and not minutes:
            source.problems.add(
                rule.where("RetryIntervals"), f"is empty, and {rule['RetryPolicy']} needs minutes", "write 10 or 10,60"
            )
        if policy == "none":
            return Retry(code=code, attempts_max=1, delays_s=(0.0,))
        if policy == "immediate":
            delays: tuple[float, ...] = (0.0,)
        else:
            delays = tuple(each * _MINUTE_S for each in minutes[: 1 if policy == "monotonous" else None]) or (0.0,)
        if retries is None:
            # Staggered says how often by its list; else a blank number is three attempts, as everywhere.
            retries = len(delays) if policy == "staggered" else 2
        bad = [each for each in delays if not 0 <= each <= _SPAN_MAX_S]
        if bad:
            source.problems.add(rule.where("RetryIntervals"), "an interval is longer than a year", "shorten it")
            delays = (0.0,)
        return Retry(code=code, attempts_max=int(retries) + 1, delays_s=delays)

    def _note_unread(self, row: Row, kind: str) -> None:
        """Findings for cells that mean nothing for a step of this type."""
        source, name = self.source, row["Name"]
        calls = kind in ("callout", "autoTask")
        if row[_INTEGRATION] and not calls:
            stays = "stays a manual task" if kind == "manualTask" else "calls nothing"
            source.note(f"{row.where(_INTEGRATION)}: {name!r} names {row[_INTEGRATION]!r}, but {stays}")
        if row["FlowDefinitionName"] and kind != "autoTask":
            stays = "stays a manual task" if kind == "manualTask" else f"stays a {row['StepType']}"
            flow = row["FlowDefinitionName"]
            source.note(f"{row.where('FlowDefinitionName')}: {name!r} names flow {flow!r}, but {stays}")
        if row["AssignedTo.Name"] and kind != "manualTask":
            source.note(f"{row.where('AssignedTo.Name')}: {name!r} is a {row['StepType']}, so nobody is assigned")
        if row["ForcePlanFreezeDuringExecution"] not in ("", "Never"):
            source.note(f"{row.where('ForcePlanFreezeDuringExecution')}: is not imported")
        if row["UsageType"] not in ("", "Fulfillment"):
            source.note(f"{row.where('UsageType')}: {row['UsageType']!r} is taken for Fulfillment")


def note_fallout_by_code(source: Source) -> None:
    """Findings for fallout rules about one error code: retries here are per item."""
    for row in source.tables[FALLOUT]:
        if row["ErrorCode"]:
            source.note(f"{row.where('ErrorCode')}: retries by error code are not imported")


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
