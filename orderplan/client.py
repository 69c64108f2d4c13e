"""Talks to a running orderplan over HTTP: a small blocking client on the standard library, for scripts and the command.

    with Client() as client:
        order = client.submit_order(document)
        print(client.wait_for_order(order["id"])["state"])

Connections are kept and shared: one client may be used by several threads at once. What is safe to repeat (reading, and
an order that carries a key) is repeated by the client itself when the server is busy or a connection breaks; everything
else is sent once, and a break says that its outcome is unknown.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

from orderplan.bulk import ingest
from orderplan.client_accounts import AccountCalls
from orderplan.client_calls import Document, WaitedTooLong, part
from orderplan.client_changes import ChangeCalls
from orderplan.client_cluster import ClusterCalls
from orderplan.client_desk import DeskCalls
from orderplan.client_hub import HubCalls
from orderplan.client_models import ModelCalls
from orderplan.client_people import PeopleCalls
from orderplan.client_releases import ReleaseCalls
from orderplan.transport import URL_DEFAULT, ApiError, Transport

__all__ = ["ENDED_STATES", "URL_DEFAULT", "ApiError", "Client", "Document", "Page", "WaitedTooLong"]

TMF622: Final = "/tmf-api/productOrderingManagement/v4/productOrder"
TMF637: Final = "/tmf-api/productInventory/v4/product"
ENDED_STATES: Final = frozenset({"completed", "rejected", "cancelled", "failed", "partial"})
"""States of an order that it never leaves."""

_PAGE: Final = 500


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list, and how many there are in all."""

    items: list[Document]
    total: int


class Client(AccountCalls, ChangeCalls, ClusterCalls, DeskCalls, HubCalls, ModelCalls, PeopleCalls, ReleaseCalls):
    """A connection to one orderplan server."""

    def __init__(
        self,
        url: str = URL_DEFAULT,
        *,
        user: str | None = None,
        timeout_s: float = 60.0,
        sleep: Callable[[float], object] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Nothing is connected yet.

        Args:
            url: where the server is.
            user: who acts; stands in the audit trail of what this client does.
            timeout_s: how long one answer may take.
            sleep: waits between tries and polls.
            clock: seconds that only grow.
        Raises:
            ApiError: the URL is none.
        """
        self._user = user
        self._transport = Transport(url, user=user, timeout_s=timeout_s, sleep=sleep)
        self._sleep = sleep
        self._clock = clock

    @property
    def url(self) -> str:
        """Where the server is."""
        return self._transport.url

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connections; the client may be used again."""
        self._transport.close()

    # Orders.

    def submit_order(self, order: Mapping[str, Any], *, key: str | None = None) -> Document:
        """Send a TMF622 product order; returns it as it was stored, `acknowledged`, `pending` or `rejected`.

        With a `key`, or an `externalId` in the order, sending it again gives the first order back. Without either the
        client makes a key of its own, so that its repeats are harmless, and every call is another order.
        """
        if key is None and not order.get("externalId"):
            key = uuid.uuid4().hex
        headers = {"Idempotency-Key": key} if key is not None else {}
        answer: Document = self.request("POST", TMF622, order, headers=headers, is_repeatable=True)
        return answer

    def ingest_orders(self, lines: Iterable[bytes]) -> Iterator[Document]:
        """Send very many orders over one connection, and yield what became of each; see `orderplan.bulk.ingest`."""
        for answer in ingest(self.url, lines, user=self._user):
            yield dict(answer)

    def cut_over_orders(self, lines: Iterable[bytes]) -> Iterator[Document]:
        """Send orders that another system has begun, each with the list `done`, and yield what became of each."""
        for answer in ingest(self.url, lines, path="/v1/orders:cutover", user=self._user):
            yield dict(answer)

    def product_order(self, order_id: str) -> Document:
        """The order as its channel sees it (TMF622)."""
        answer: Document = self.request("GET", f"{TMF622}/{part(order_id)}")
        return answer

    def list_orders(self, *, offset: int = 0, limit: int = 50, **filters: str) -> Page:
        """A page of product orders, newest first; filters as in TMF622: `state`, `externalId`, ..., and `fields`."""
        return self._page(TMF622, offset, limit, filters)

    def order(self, order_id: str) -> Document:
        """Where the order stands."""
        answer: Document = self.request("GET", f"/v1/orders/{part(order_id)}")
        return answer

    def plan(self, order_id: str) -> Document:
        """The order's plan: lines, items, what waits for what."""
        answer: Document = self.request("GET", f"/v1/orders/{part(order_id)}/plan")
        return answer

    def facts(self, order_id: str) -> list[Document]:
        """Everything that happened to the order, oldest first."""
        answer: list[Document] = self.request("GET", f"/v1/orders/{part(order_id)}/facts")
        return answer

    def operate(
        self,
        order_id: str,
        item: str,
        action: str,
        reason: str,
        answer: Mapping[str, Any] | None = None,
        patch: Mapping[str, Any] | None = None,
    ) -> Any:
        """Do `retry`, `skip`, `complete` or `edit` with an item; the reason goes into the audit trail.

        `patch` are the members of the payload that an edit changes (RFC 7396).
        """
        body: Document = {"reason": reason}
        if patch is not None:
            body["patch"] = patch
        if answer is not None:
            body["answer"] = answer
        return self.request(
            "POST",
            f"/v1/orders/{part(order_id)}/items/{part(item)}:{part(action)}",
            body,
            headers={"Idempotency-Key": uuid.uuid4().hex},
        )

    def explain(self, order_id: str, item: str | None = None) -> Document:
        """Why an order (or an item, by its key or definition) is where it is, or why it is not in the plan."""
        found: Document = self.request("GET", f"/v1/orders/{part(order_id)}/explain", query={"item": item})
        return found

    def provenance(self, order_id: str, line: str, attribute: str) -> Document:
        """Where the value of a line's attribute came from, the newest origin first."""
        path = f"/v1/orders/{part(order_id)}/lines/{part(line)}/provenance"
        found: Document = self.request("GET", path, query={"attribute": attribute})
        return found

    def change_line(self, order_id: str, line: str, attributes: Mapping[str, Any], reason: str) -> Any:
        """Say what is known of a line of a running order by now; the reason goes into the audit trail."""
        return self.request(
            "PATCH",
            f"/v1/orders/{part(order_id)}/lines/{part(line)}",
            {"attributes": attributes, "reason": reason},
            headers={"Idempotency-Key": uuid.uuid4().hex},
        )

    def wait_for_order(self, order_id: str, *, timeout_s: float = 3600.0, poll_s: float = 0.3) -> Document:
        """The order once it has ended.

        Raises:
            WaitedTooLong: it had not when the time was over. An order that waits for a person ends only by them.
        """
        until = self._clock() + timeout_s
        while True:
            order = self.order(order_id)
            if order["state"] in ENDED_STATES:
                return order
            if self._clock() >= until:
                raise WaitedTooLong(order_id, order["state"], timeout_s)
            self._sleep(poll_s)

    # Risk.

    def list_risks(
        self,
        *,
        min_risk: float = 0.0,
        account: str | None = None,
        plan: str | None = None,
        step: str | None = None,
        system: str | None = None,
        currency: str | None = None,
        period: str | None = None,
        min_recurring: float | None = None,
        min_one_time: float | None = None,
        sort: str = "risk",
        limit: int = 100,
        cursor: str | None = None,
    ) -> Document:
        """A page of open orders by risk to be late (`orders`), and the cursor of the `next` page, if any.

        `sort`: `risk`, `due`, `delay`, `recurring` or `oneTime` (value; needs a currency). `step` (`plan/item`)
        and `system` are what the order is at.
        """
        query = {"minRisk": str(min_risk), "account": account, "plan": plan, "step": step, "system": system}
        bounds = {"minRecurring": min_recurring, "minOneTime": min_one_time}
        query |= {name: f"{each:.9f}" if each is not None else None for name, each in bounds.items()}
        query |= {"currency": currency, "period": period}
        query |= {"sort": sort, "limit": str(limit), "cursor": cursor}
        answer: Document = self.request("GET", "/v1/risk", query=query)
        return answer

    def risk(self, order_id: str) -> Document:
        """One order's risk: its newest score, its history, its items in jeopardy."""
        answer: Document = self.request("GET", f"/v1/orders/{part(order_id)}/risk")
        return answer

    def what_if(self, order_id: str, changes: Sequence[Mapping[str, Any]] = ()) -> Document:
        """What the delay model would say of the order with these changes (`variable`, `item`, `to`); without any, what
        would help. Estimates: nothing is done to the order.
        """
        body = {"changes": list(changes)}
        answer: Document = self.request("POST", f"/v1/orders/{part(order_id)}/risk:whatIf", body)
        return answer

    # Systems, inventory.

    def list_systems(self) -> list[Document]:
        """How this environment reaches its fulfilment systems."""
        answer: list[Document] = self.request("GET", "/v1/systems")
        return answer

    def put_system(
        self,
        code: str,
        adapter: str,
        config: Mapping[str, Any],
        concurrency: int = 50,
        limits: Mapping[str, Any] | None = None,
    ) -> Document:
        """Say how a system is reached; `limits` are `ratePerS`, `breaker` and `drainPerS`."""
        body = {"adapter": adapter, "config": dict(config), "concurrency": concurrency, **(limits or {})}
        answer: Document = self.request("PUT", f"/v1/systems/{part(code)}", body)
        return answer

    def hold_system(self, code: str | None, reason: str) -> Document:
        """Let a system (None: every system) take no calls until it is released."""
        answer: Document = self.request("POST", _steer(code, "hold"), {"reason": reason})
        return answer

    def release_system(self, code: str | None, reason: str = "") -> Document:
        """Let a system (None: every system) take calls again; what was held goes on at its rate."""
        body = {"reason": reason} if reason else {}
        answer: Document = self.request("POST", _steer(code, "release"), body)
        return answer

    def system_changes(self, code: str) -> list[Document]:
        """Who changed, held and released a system, newest first."""
        answer: list[Document] = self.request("GET", f"/v1/systems/{part(code)}/changes")
        return answer

    def ingest_inventory(self, lines: Iterable[bytes]) -> Iterator[Document]:
        """Load very many installed products over one connection, and yield what became of each."""
        for answer in ingest(self.url, lines, path="/v1/inventory:ingest", user=self._user):
            yield dict(answer)

    def reconcile_inventory(self, lines: Iterable[bytes]) -> Iterator[Document]:
        """Compare a foreign list of installed products with the server's, and yield what is told of each."""
        for answer in ingest(self.url, lines, path="/v1/inventory:reconcile", user=self._user):
            yield dict(answer)

    def import_inventory(self, products: Sequence[Mapping[str, Any]]) -> Document:
        """Load installed products (TMF637)."""
        answer: Document = self.request("POST", "/v1/inventory:import", {"products": list(products)})
        return answer

    def find_products(self, name: str, value: str, *, limit: int = 50) -> list[Document]:
        """Products that have this value, of an attribute that the release declares searchable."""
        query = {"productCharacteristic.name": name, "productCharacteristic.value": value, "limit": str(limit)}
        found: list[Document] = self.request("GET", TMF637, query=query)
        return found

    def list_products(self, *, account: str | None = None, offset: int = 0, limit: int = 50) -> Page:
        """A page of installed products (TMF637)."""
        return self._page(TMF637, offset, limit, {"billingAccount.id": account} if account else {})

    def all_products(self, account: str | None = None) -> Iterator[Document]:
        """Every installed product, page by page."""
        offset = 0
        while True:
            page = self.list_products(account=account, offset=offset, limit=_PAGE)
            yield from page.items
            offset += len(page.items)
            if not page.items or offset >= page.total:
                return

    # One request.

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: Mapping[str, str | None] | None = None,
        headers: Mapping[str, str] | None = None,
        is_repeatable: bool | None = None,
    ) -> Any:
        """Send one request; returns the decoded answer.

        Args:
            method: GET, POST, PUT or DELETE.
            path: below the server's URL, starting with a slash; its parts percent-encoded.
            body: sent as JSON unless it is None.
            query: members without a value are left out.
            headers: besides those that every request has.
            is_repeatable: whether it may be sent again; None: reading and putting may.
        Raises:
            ApiError: the server refused (its own code and status), could not be reached (`unreachable`), or the
                connection broke before the answer (`interrupted`).
        """
        return self._transport.send(method, path, body, query, headers, is_repeatable)[1]

    def _page(self, path: str, offset: int, limit: int, filters: Mapping[str, str | None]) -> Page:
        query = {"offset": str(offset), "limit": str(limit), **filters}
        headers, items = self._transport.send("GET", path, query=query)
        return Page(items, int(headers.get("X-Total-Count") or len(items)))


def _steer(code: str | None, action: str) -> str:
    return f"/v1/systems:{action}" if code is None else f"/v1/systems/{part(code)}:{action}"
