"""Histories as files: an event log for process mining, the facts for learning, and what stands in the manifest.

`events.csv` is for programs that know nothing of plans; `facts.ndjson` with `templates.ndjson` and `releases.ndjson` is
everything, so that plans can be folded again as they were at any moment. All of them are written as things happen.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, fields
from datetime import datetime
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TextIO

from delay.histories.orders import SIMULATED
from delay.histories.settings import Settings
from delay.histories.simulation import Happening, Simulation
from delay.snapshot import AWAIT_NAMES
from domain import facts as f
from domain.compose import Template
from domain.facts import VERSIONS, Fact, upcast
from domain.publish import compile_release
from domain.release import CompiledRelease
from domain.release_file import read_release, release_document

FORMAT: Final = "orderplan.history/1"
EVENTS, FACTS, TEMPLATES, RELEASES, MANIFEST = (
    "events.csv",
    "facts.ndjson",
    "templates.ndjson",
    "releases.ndjson",
    "manifest.json",
)
NOTE: Final = "simulated orders: no customer, system or person in here exists"
COLUMNS: Final = (
    "case",
    "activity",
    "timestamp",
    "due",
    "resource",
    "item",
    "channel",
    "priority",
    "segment",
    "product",
    "lines",
    "simulated",
    "currentDue",
)
ACTIVITIES: Final[Mapping[str, str]] = {
    f.ORDER_ACCEPTED: "Order accepted",
    f.ORDER_REJECTED: "Order rejected",
    f.ORDER_ENDED: "Order ended",
    f.ITEM_OPENED: "{} waits for somebody",
    f.ITEM_CLAIMED: "{} taken",
    f.ITEM_STARTED: "{} started",
    f.ITEM_BEGUN: "{} begun",
    f.ITEM_SCHEDULED: "{} scheduled",
    f.ITEM_HELD: "{} held",
    f.ITEM_COMPLETED: "{} completed",
    f.ITEM_FAILED: "{} failed",
    f.ITEM_FATALLY_FAILED: "{} failed for good",
    f.ITEM_RETRIED: "{} mended",
    f.ITEM_SKIPPED: "{} skipped",
}
"""How the event log names facts; those that are not here are not in it."""


class UnusableHistory(ValueError):
    """What should be the folder of a history is none, or of a form that this program does not know."""


def names_of(releases: Iterable[CompiledRelease]) -> dict[str, str]:
    """What items are called, by definition; also those that no release defines."""
    return AWAIT_NAMES | {item.ref: item.name for release in releases for item in release.items}


class HistoryWriter:
    """Writes a history into a folder, fact by fact; `finish` writes what is known at the end."""

    def __init__(self, folder: Path, simulation: Simulation) -> None:
        self.folder = folder
        self._simulation = simulation
        self._names = names_of(simulation.releases.values())
        self._cases: dict[str, tuple[datetime | None, tuple[object, ...]]] = {}
        self.counts = {"orders": 0, "facts": 0, "events": 0, "ended": 0, "rejected": 0, "late": 0}

    def __enter__(self) -> Self:
        """Open the files, which are replaced if they exist."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            self._facts = stack.enter_context(_opened(self.folder / FACTS))
            self._events = stack.enter_context(_opened(self.folder / EVENTS))
            self._files = stack.pop_all()
        self._log = csv.writer(self._events, lineterminator="\n")
        self._log.writerow(COLUMNS)
        self._facts.write(_line({"format": FORMAT, "simulated": True, "note": NOTE}))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the files."""
        self._files.close()

    def add(self, happening: Happening) -> None:
        """Write one fact."""
        order_id, fact = happening
        self.counts["facts"] += 1
        stored: dict[str, Any] = {"order": order_id, "kind": fact.kind, "v": VERSIONS[fact.kind]}
        stored["at"] = fact.at.isoformat(timespec="milliseconds")
        for name in ("item", "payload", "cause"):
            if (value := getattr(fact, name)) is not None:
                stored[name] = value
        if fact.actor != "system":
            stored["actor"] = fact.actor
        self._facts.write(_line(stored))
        if fact.kind in (f.ORDER_ACCEPTED, f.ORDER_REJECTED):
            self._begin(order_id, (fact.payload or {})["order"])
        self._log_event(order_id, fact)
        if fact.kind == f.ORDER_REJECTED:
            self.counts["rejected"] += 1
            del self._cases[order_id]
        elif fact.kind == f.ORDER_ENDED:
            due_at, _ = self._cases.pop(order_id)
            self.counts["ended"] += 1
            self.counts["late"] += due_at is not None and fact.at > due_at

    def _begin(self, order_id: str, order: Mapping[str, Any]) -> None:
        self.counts["orders"] += 1
        lines = order["lines"]
        due_at = datetime.fromisoformat(order["dueAt"]) if order.get("dueAt") else None
        account = order.get("accountFacts", {})
        self._cases[order_id] = (
            due_at,
            (
                order["channel"],
                order.get("priority", "normal"),
                account.get("segment", ""),
                lines[0].get("offering") or lines[0].get("specification") or "",
                len(lines),
                "true",
                # No simulated order is changed: its first promise stands.
                due_at.isoformat() if due_at is not None else "",
            ),
        )

    def _log_event(self, order_id: str, fact: Fact) -> None:
        activity = ACTIVITIES.get(fact.kind)
        if activity is None:
            return
        self.counts["events"] += 1
        due_at, attributes = self._cases[order_id]
        name = self._names.get(fact.item.partition("@")[0], fact.item) if fact.item else ""
        due = due_at.isoformat() if due_at is not None else ""
        at = fact.at.isoformat(timespec="milliseconds")
        self._log.writerow(
            (order_id, activity.format(name), at, due, fact.actor, fact.item or "", *attributes)
        )

    def finish(self, catalogues: tuple[str, ...]) -> dict[str, Any]:
        """Write templates, releases and the manifest; the manifest."""
        simulation = self._simulation
        with _opened(self.folder / RELEASES) as releases:
            for _, release in sorted(simulation.releases.items()):
                releases.write(_line(release_document(release.source)))
        with _opened(self.folder / TEMPLATES) as templates:
            for template_id, (release_id, template) in sorted(simulation.templates.items()):
                templates.write(_line({"id": template_id, "release": release_id, "template": template.to_dict()}))
        ended = self.counts["ended"]
        manifest: dict[str, Any] = {
            "format": FORMAT,
            "simulated": True,
            "note": NOTE,
            "caseIdsBeginWith": SIMULATED,
            "seed": simulation.settings.seed,
            "catalogues": list(catalogues),
            "releases": sorted(simulation.releases),
            "from": simulation.settings.start.isoformat(),
            "until": simulation.until.isoformat(),
            "counts": self.counts | {"open": self.counts["orders"] - ended - self.counts["rejected"]},
            "lateShare": round(self.counts["late"] / ended, 4) if ended else None,
            "workers": {code: queue.workers for code, queue in simulation.people.queues.items()},
            "outages": [asdict(outage) for outage in simulation.systems.outages],
            "settings": _settings(simulation.settings),
        }
        text = json.dumps(manifest, indent=2, default=_plain)
        (self.folder / MANIFEST).write_text(text + "\n", encoding="utf-8")
        plain: dict[str, Any] = json.loads(text)
        return plain


class StoredHistory:
    """A history in a folder. Iterating reads its facts from the file, in the order of time, as often as is needed.

    Raises:
        UnusableHistory: it is none, or of a form that this program does not know.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            self.manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UnusableHistory(f"{folder} holds no {MANIFEST} that can be read") from error
        if self.manifest.get("format") != FORMAT:
            raise UnusableHistory(f"{folder / MANIFEST} is not of the form {FORMAT}")
        self.until = datetime.fromisoformat(self.manifest["until"])

    @cached_property
    def releases(self) -> dict[str, CompiledRelease]:
        """By id."""
        compiled = [compile_release(read_release(each)) for each in _lines(self.folder / RELEASES)]
        return {release.release_id: release for release in compiled}

    @cached_property
    def templates(self) -> dict[str, tuple[str, Template]]:
        """By id, with the ids of their releases."""
        return {
            each["id"]: (each["release"], Template.from_dict(each["template"], self.releases[each["release"]]))
            for each in _lines(self.folder / TEMPLATES)
        }

    def __iter__(self) -> Iterator[Happening]:
        """Every fact, in the order of time."""
        lines = _lines(self.folder / FACTS)
        next(lines)
        for each in lines:
            payload = each.get("payload")
            if payload is not None:
                payload = upcast(each["kind"], each["v"], payload)
            at = datetime.fromisoformat(each["at"])
            fact = Fact(each["kind"], at, each.get("item"), payload, each.get("actor", "system"), each.get("cause"))
            yield Happening(each["order"], fact)


def _opened(path: Path) -> TextIO:
    return path.open("w", encoding="utf-8", newline="")


def _line(document: Mapping[str, Any]) -> str:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")) + "\n"


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


def _settings(settings: Settings) -> dict[str, Any]:
    return {each.name: getattr(settings, each.name) for each in fields(settings)}


def _plain(value: Any) -> Any:
    """What JSON has no form for."""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, frozenset):
        return sorted(value)
    return asdict(value)
