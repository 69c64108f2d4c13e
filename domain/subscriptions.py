"""What a listener asks for: the query of a TMF622 hub registration, in the form of TMF630 filters.

    eventType=ProductOrderStateChangeEvent&event.productOrder.state=completed,cancelled&fields=state,externalId

Values of one name, by commas or by repeating it, are alternatives; all names have to hold. `event.productOrder.` may be
left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl

from domain.errors import BadDocument
from domain.events import EVENT_TYPES
from domain.orders import Order
from domain.states import OrderState

QUERY_LENGTH_MAX: Final = 2_000
_PREFIX: Final = "event.productOrder."
_FIELDS: Final = "fields"
_NAMES: Final = ("eventType", "state", "externalId", "billingAccount.id", "channel")
_ALLOWED: Final = {
    "eventType": EVENT_TYPES,
    "state": frozenset(state.value for state in OrderState),
}


@dataclass(frozen=True, slots=True)
class Subscription:
    """A query that was read. `wanted` has the alternatives of each name; `fields` narrows the payload."""

    wanted: dict[str, frozenset[str]]
    fields: str = ""

    def wants(self, event_type: str, state: str, order: Order) -> bool:
        """Whether the listener is to hear of this event."""
        found = {
            "eventType": event_type,
            "state": state,
            "externalId": order.external_id,
            "billingAccount.id": order.account,
            "channel": order.channel,
        }
        return all(found[name] in values for name, values in self.wanted.items())


def read_subscription(query: str) -> Subscription:
    """The listener's query; an empty one asks for everything.

    Raises:
        BadDocument: it is too long, names what cannot be filtered by, or a value that never occurs.
    """
    if len(query) > QUERY_LENGTH_MAX:
        raise BadDocument(f"is longer than {QUERY_LENGTH_MAX} characters", path="query", mend="register two listeners")
    wanted: dict[str, set[str]] = {}
    fields: list[str] = []
    try:
        given = parse_qsl(query.removeprefix("?"), keep_blank_values=True, strict_parsing=True) if query else []
    except ValueError:
        raise BadDocument(
            "is no filter", path="query", mend="write it as eventType=ProductOrderStateChangeEvent&state=completed"
        ) from None
    for sent, text in given:
        name = sent.removeprefix(_PREFIX)
        values = [each.strip() for each in text.split(",")]
        if not all(values):
            raise BadDocument(f"{sent[:100]!r} needs a value", path="query")
        if name == _FIELDS:
            fields += values
            continue
        if name not in _NAMES:
            raise BadDocument(
                f"events cannot be filtered by {sent[:100]!r}",
                path="query",
                mend=f"known are {', '.join(_NAMES)}, fields",
            )
        allowed = _ALLOWED.get(name)
        for value in values:
            if allowed is not None and value not in allowed:
                raise BadDocument(
                    f"{value[:100]!r} is no {name}", path="query", mend=f"known are {', '.join(sorted(allowed))}"
                )
        wanted.setdefault(name, set()).update(values)
    return Subscription({name: frozenset(values) for name, values in wanted.items()}, ",".join(fields))
