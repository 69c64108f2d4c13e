"""What `orderplan account timeline` says, and that every kind of entry has a word."""

from __future__ import annotations

from rich.console import Console

from orderplan.cli.account import WORDS, rendered
from persistence.accounts import _KINDS

ENTRIES = [
    {"at": "2026-03-02T09:22:00+00:00", "kind": "item.failed", "id": "o1-2/p/call@1", "state": "E-7", "name": "Call",
     "orderId": "o1-2", "item": "p/call@1"},
    {"at": "2026-03-02T09:20:00+00:00", "kind": "order.accepted", "id": "o1-2", "state": "acknowledged",
     "orderId": "o1-2"},
]  # fmt: skip


def test_a_page_of_the_timeline_is_a_table_with_the_way_on() -> None:
    console = Console(width=160, no_color=True)
    with console.capture() as caught:
        for part in rendered("acc-1", {"entries": ENTRIES, "next": "abc"}):
            console.print(part)
    rows = [" ".join(row.replace("│", " ").split()) for row in caught.get().splitlines()]
    assert "2026-03-02 09:22:00 failed Call E-7 o1-2 p/call@1" in rows
    assert "2026-03-02 09:20:00 ordered o1-2 acknowledged o1-2" in rows
    assert rows[-1] == "more: orderplan account timeline acc-1 --cursor abc"


def test_every_kind_of_entry_has_a_word() -> None:
    assert {kind.name for kind in _KINDS} == WORDS.keys()
