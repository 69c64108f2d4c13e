"""What is measured: releases and orders made for measuring."""

from __future__ import annotations

from typing import Any, Final

TEN_WAITS_FOR: Final[dict[str, tuple[str, ...]]] = {
    "start": (),
    "a1": ("start",),
    "a2": ("a1",),
    "b1": ("start",),
    "b2": ("b1",),
    "c1": ("start",),
    "c2": ("c1",),
    "join": ("a2", "b2", "c2"),
    "s1": ("join",),
    "s2": ("s1",),
}
"""`ten`: start -> three branches of two in sequence -> join -> two in sequence (PERFORMANCE.md)."""


def ten_release() -> dict[str, Any]:
    """A release whose only plan is `ten`; each item is one call."""
    return {
        "format": "orderplan.release/1",
        "code": "bench-ten",
        "version": "1",
        "products": [{"code": "ten", "kind": "technical", "attributes": [{"name": "number"}]}],
        "systems": [{"code": "bench"}],
        "plans": [
            {
                "code": "ten",
                "items": [
                    {"code": code, "type": "callout", "system": "bench", "operation": code} for code in TEN_WAITS_FOR
                ],
            }
        ],
        "dependencies": [
            {"item": {"plan": "ten", "item": item}, "other": {"plan": "ten", "item": other}, "scope": "item"}
            for item, others in TEN_WAITS_FOR.items()
            for other in others
        ],
        "scenarios": [{"plan": "ten", "product": "ten", "actions": ["add"]}],
    }


def ten_order(number: int, run: str) -> dict[str, Any]:
    """One order of `ten`, for an account of its own."""
    return {
        "externalId": f"{run}-{number}",
        "relatedParty": [{"id": f"{run}-account-{number}", "role": "customer", "@referredType": "Individual"}],
        "productOrderItem": [
            {
                "id": "1",
                "action": "add",
                "product": {
                    "productSpecification": {"id": "ten"},
                    "productCharacteristic": [{"name": "number", "value": str(number)}],
                },
            }
        ],
    }
