"""A server's orders as the folder of a history, in the form that `orderplan simulate` writes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import typer

from delay.features import Leak
from delay.histories.files import FACTS, FORMAT, MANIFEST, RELEASES, TEMPLATES, StoredHistory, UnusableHistory
from delay.training import TooLittleHistory
from orderplan.cli.common import UserError
from orderplan.client import Client

ORDERS_MAX: Final = 100_000
"""Their facts are sorted in memory: about 20 KB an order."""


def export(client: Client, out: Path, since: str | None, orders_max: int) -> dict[str, Any]:
    """Write the history of a server's orders; returns its manifest.

    Raises:
        UserError: there are no orders, or the folder holds something.
    """
    lines: list[tuple[str, int, int, str]] = []
    releases: dict[str, Any] = {}
    templates: dict[str, Any] = {}
    orders, until = 0, None
    for page in client.delay_history(since):
        # What happens while the pages are read is in some of them only: it ends when the first one was.
        until = until or page["until"]
        orders += page["orders"]
        releases |= page["releases"]
        templates |= page["templates"]
        lines += _in_order(page["facts"])
        typer.echo(f"{orders:,} orders, {len(lines):,} facts", err=True)
        if orders >= orders_max:
            break
    lines = sorted(line for line in lines if until is not None and line[0] <= until)
    if not lines:
        raise UserError("there are no orders to learn from", mend="name an earlier --since, or simulate a history")
    _write(out, lines, templates, releases)
    manifest = {
        "format": FORMAT,
        "simulated": False,
        "note": f"orders of {client.url}",
        "from": lines[0][0],
        "until": until,
        "counts": {"orders": orders, "facts": len(lines)},
    }
    (out / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    return manifest


def _in_order(facts: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, int, int, str]]:
    """Facts with what they are sorted by. Those of an order stay in their order also where a clock was set back."""
    latest: dict[str, str] = {}
    for each in facts:
        at = latest[each["order"]] = max(each["at"], latest.get(each["order"], ""))
        yield at, each["shard"], each["offset"], _line(_fact(each))


def _fact(stored: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: stored[name]
        for name in ("order", "kind", "v", "at", "item", "payload", "actor", "cause")
        if stored[name] is not None
    }


def _write(
    out: Path, lines: list[tuple[str, int, int, str]], templates: Mapping[str, Any], releases: Mapping[str, Any]
) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        if any(out.iterdir()):
            raise UserError(f"{out} holds files", path="--out", mend="name an empty or new folder")
        with ExitStack() as stack:
            files = {
                name: stack.enter_context((out / name).open("w", encoding="utf-8", newline=""))
                for name in (FACTS, TEMPLATES, RELEASES)
            }
            files[FACTS].write(_line({"format": FORMAT, "simulated": False}))
            files[FACTS].writelines(line for _, _, _, line in lines)
            for template_id, each in sorted(templates.items()):
                files[TEMPLATES].write(_line({"id": template_id, **each}))
            for _, release in sorted(releases.items()):
                files[RELEASES].write(_line(release))
    except OSError as error:
        mend = "make room, or name another folder"
        raise UserError(f"{out} cannot be written: {error.strerror}", path="--out", mend=mend) from error


def _line(document: Mapping[str, Any]) -> str:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")) + "\n"


@contextmanager
def history_of(folder: Path | None, client: Client, since: str | None) -> Iterator[StoredHistory]:
    """The history in a folder, else that of the server, in a folder that is gone afterwards.

    Raises:
        UserError: the folder holds none; or, of what is done with it, there is too little or it knows the future.
    """
    with ExitStack() as stack:
        if folder is None:
            folder = Path(stack.enter_context(TemporaryDirectory(prefix="orderplan-"))) / "history"
            export(client, folder, since, ORDERS_MAX)
        try:
            yield StoredHistory(folder)
        except UnusableHistory as error:
            mend = "write one with `orderplan model export` or `orderplan simulate`"
            raise UserError(str(error), path="--history", mend=mend) from error
        except TooLittleHistory as error:
            mend = "wait for more closed orders, or take a longer history; until then use the built-in model"
            raise UserError(str(error), path="--history", mend=mend) from error
        except Leak as error:
            mend = "a model that learnt from it would look good and be useless: keep it out of the order"
            raise UserError(str(error), path="--history", mend=mend) from error


def source_of(history: StoredHistory) -> str:
    """Where a history comes from, in words."""
    manifest = history.manifest
    kind = "a simulated history" if manifest["simulated"] else str(manifest.get("note", "an exported history"))
    counts = manifest["counts"]
    return f"{kind}, {counts['orders']:,} orders, {manifest['from'][:10]} to {manifest['until'][:10]}"
