"""What is measured: releases and orders made for measuring."""

from __future__ import annotations

from typing import Any


def ten_release() -> dict[str, Any]:
    """`ten`: start -> three branches of two in sequence -> join -> two in sequence; each item one call
    (PERFORMANCE).
    """
    waits_for = {
        "start": [],
        "a1": ["start"],
        "a2": ["a1"],
        "b1": ["start"],
        "b2": ["b1"],
        "c1": ["start"],
        "c2": ["c1"],
        "join": ["a2", "b2", "c2"],
        "s1": ["join"],
        "s2": ["s1"],
    }
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
                    {"code": code, "type": "callout", "system": "bench", "operation": code} for code in waits_for
                ],
            }
        ],
        "dependencies": [
            {"item": {"plan": "ten", "item": item}, "other": {"plan": "ten", "item": other}, "scope": "item"}
            for item, others in waits_for.items()
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
