"""What `orderplan account timeline` says, and that every kind of entry has a word."""

from __future__ import annotations

from rich.console import Console

from orderplan.cli.account import WORDS, rendered, rendered_certificate
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


CERTIFICATE = {
    "id": "e1", "account": "acc-1", "state": "done", "by": "person:paula", "reason": "she asked for it",
    "askedAt": "2026-03-02T09:20:00+00:00", "finishedAt": "2026-03-02T09:20:01+00:00", "orders": 1, "products": 2,
    "withProducts": True, "orderIds": ["o1-2"], "rows": {"asset": 2, "fact": 9}, "secretsDestroyed": ["abc"],
    "secretsKept": [{"secretId": "def", "productIds": ["p9"]}],
    "wentTo": {"systems": ["switch"], "listeners": [{"id": "h1", "callback": "https://shop"}], "channels": ["web"]},
    "kept": {"logs": "ids of orders"},
}  # fmt: skip


def certified(document: dict[str, object]) -> list[str]:
    console = Console(width=160, no_color=True)
    with console.capture() as caught:
        for part in rendered_certificate(document):
            console.print(part)
    return [" ".join(row.replace("│", " ").split()) for row in caught.get().splitlines()]


def test_a_certificate_says_what_was_erased_what_is_kept_and_where_it_went() -> None:
    rows = certified(CERTIFICATE)
    for row in (
        "account acc-1", "by person:paula", "reason she asked for it", "finished (UTC) 2026-03-02 09:20:01",
        "orders o1-2", "products 2", "rows asset 2, fact 9", "secrets destroyed abc",
        "secret kept def: needed by p9", "went to systems switch", "to listeners https://shop", "to channels web",
        "logs ids of orders",
    ):  # fmt: skip
        assert row in rows


def test_of_a_refused_try_only_who_asked_and_why_is_shown() -> None:
    shown = {name: CERTIFICATE[name] for name in ("id", "account", "by", "reason", "askedAt")}
    rows = certified(shown | {"state": "refused", "finishedAt": None})
    assert "state refused" in rows
    assert not any("orders" in row for row in rows)
