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
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import quote

from orderplan.transport import URL_DEFAULT, ApiError, Transport

__all__ = ["ENDED_STATES", "URL_DEFAULT", "ApiError", "Client", "Document", "Page", "WaitedTooLong"]

TMF622: Final = "/tmf-api/productOrderingManagement/v4/productOrder"
TMF637: Final = "/tmf-api/productInventory/v4/product"
ENDED_STATES: Final = frozenset({"completed", "rejected", "cancelled", "failed", "partial"})
"""States of an order that it never leaves."""

_PAGE: Final = 500
Document = dict[str, Any]


class WaitedTooLong(Exception):
    """An order had not ended when the time was over; `state` is where it stood."""

    def __init__(self, order_id: str, state: str, waited_s: float) -> None:
        super().__init__(f"order {order_id} is still {state} after {waited_s:g} s")
        self.order_id = order_id
        self.state = state


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list, and how many there are in all."""

    items: list[Document]
    total: int


class Client:
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

    def product_order(self, order_id: str) -> Document:
        """The order as its channel sees it (TMF622)."""
        answer: Document = self.request("GET", f"{TMF622}/{_part(order_id)}")
        return answer

    def list_orders(self, *, offset: int = 0, limit: int = 50, **filters: str) -> Page:
        """A page of product orders, newest first; filters as in TMF622: `state`, `externalId`, ..., and `fields`."""
        return self._page(TMF622, offset, limit, filters)

    def order(self, order_id: str) -> Document:
        """Where the order stands."""
        answer: Document = self.request("GET", f"/v1/orders/{_part(order_id)}")
        return answer

    def plan(self, order_id: str) -> Document:
        """The order's plan: lines, items, what waits for what."""
        answer: Document = self.request("GET", f"/v1/orders/{_part(order_id)}/plan")
        return answer

    def facts(self, order_id: str) -> list[Document]:
        """Everything that happened to the order, oldest first."""
        answer: list[Document] = self.request("GET", f"/v1/orders/{_part(order_id)}/facts")
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
            f"/v1/orders/{_part(order_id)}/items/{_part(item)}:{_part(action)}",
            body,
            headers={"Idempotency-Key": uuid.uuid4().hex},
        )

    def explain(self, order_id: str, item: str | None = None) -> Document:
        """Why an order (or an item, by its key or definition) is where it is, or why it is not in the plan."""
        found: Document = self.request("GET", f"/v1/orders/{_part(order_id)}/explain", query={"item": item})
        return found

    def provenance(self, order_id: str, line: str, attribute: str) -> Document:
        """Where the value of a line's attribute came from, the newest origin first."""
        path = f"/v1/orders/{_part(order_id)}/lines/{_part(line)}/provenance"
        found: Document = self.request("GET", path, query={"attribute": attribute})
        return found

    # Fallout and its repair in bulk.

    def list_fallout(self, *, limit: int = 100, after: str | None = None, **filters: str) -> Document:
        """A page of items that failed for good, under `items`, and where the next one begins, under `next`."""
        found: Document = self.request("GET", "/v1/fallout", query=filters | {"limit": str(limit), "after": after})
        return found

    def fallout_groups(self, **filters: str) -> list[Document]:
        """How many items failed at which system with which error."""
        found: list[Document] = self.request("GET", "/v1/fallout/groups", query=filters)
        return found

    def start_job(
        self,
        action: str,
        reason: str,
        *,
        filter: Mapping[str, str] | None = None,
        items: Sequence[tuple[str, str]] | None = None,
        argument: Mapping[str, Any] | None = None,
        rate: float | None = None,
    ) -> Document:
        """Repair a frozen selection of failed items in the background; `argument` is an answer or what changes."""
        body: Document = {"reason": reason}
        if filter is not None:
            body["filter"] = filter
        if items is not None:
            body["items"] = [list(each) for each in items]
        if argument is not None:
            body[{"complete": "answer", "edit": "payload"}.get(action, "answer")] = argument
        if rate is not None:
            body["rate"] = rate
        made: Document = self.request("POST", f"/v1/fallout:{_part(action)}", body)
        return made

    def list_jobs(self) -> list[Document]:
        """Bulk jobs, newest first."""
        found: list[Document] = self.request("GET", "/v1/jobs")
        return found

    def job(self, job_id: str) -> Document:
        """How far a job is."""
        found: Document = self.request("GET", f"/v1/jobs/{_part(job_id)}")
        return found

    def job_items(
        self, job_id: str, *, outcome: str | None = None, after: int = 0, limit: int = 100
    ) -> list[Document]:
        """What became of the items of a job, and the state they are in now."""
        query = {"outcome": outcome, "after": str(after), "limit": str(limit)}
        found: list[Document] = self.request("GET", f"/v1/jobs/{_part(job_id)}/items", query=query)
        return found

    def steer_job(self, job_id: str, action: str) -> Document:
        """Pause, resume or stop a job."""
        found: Document = self.request("POST", f"/v1/jobs/{_part(job_id)}:{_part(action)}", {})
        return found

    def wait_for_job(self, job_id: str, *, timeout_s: float = 3600.0, poll_s: float = 0.3) -> Document:
        """The job once it is done, stopped or paused.

        Raises:
            WaitedTooLong: it was still running after the time.
        """
        until = self._clock() + timeout_s
        while (job := self.job(job_id))["state"] == "running":
            if self._clock() >= until:
                raise WaitedTooLong(job_id, job["state"], timeout_s)
            self._sleep(poll_s)
        return job

    def change_line(self, order_id: str, line: str, attributes: Mapping[str, Any], reason: str) -> Any:
        """Say what is known of a line of a running order by now; the reason goes into the audit trail."""
        return self.request(
            "PATCH",
            f"/v1/orders/{_part(order_id)}/lines/{_part(line)}",
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
        self, *, min_risk: float = 0.0, account: str | None = None, limit: int = 100, cursor: str | None = None
    ) -> Document:
        """A page of open orders by falling risk to be late (`orders`), and the cursor of the `next` page, if any."""
        query = {"minRisk": str(min_risk), "account": account, "limit": str(limit), "cursor": cursor}
        answer: Document = self.request("GET", "/v1/risk", query=query)
        return answer

    def risk(self, order_id: str) -> Document:
        """One order's risk: its newest score, its history, its items in jeopardy."""
        answer: Document = self.request("GET", f"/v1/orders/{_part(order_id)}/risk")
        return answer

    # Manual tasks.

    def list_tasks(
        self, *, queue: str | None = None, worker: str | None = None, is_free: bool = False, limit: int = 100
    ) -> list[Document]:
        """Open tasks, most urgent first: those that the worker may do, and with `is_free` those that nobody holds."""
        query = {"queue": queue, "worker": worker, "free": "true" if is_free else None, "limit": str(limit)}
        answer: list[Document] = self.request("GET", "/v1/tasks", query=query)
        return answer

    def task(self, task_id: str) -> Document:
        """One task, open or closed."""
        answer: Document = self.request("GET", f"/v1/tasks/{_part(task_id)}")
        return answer

    def claim_task(self, task_id: str, worker: str, lease_s: float | None = None) -> Document:
        """Take a task until the lease ends; the worker may take it again."""
        return self._task(task_id, "claim", {"worker": worker} | _lease(lease_s))

    def next_task(
        self, worker: str, *, queues: Sequence[str] | None = None, lease_s: float | None = None
    ) -> Document | None:
        """Take the most urgent free task that the worker may do; None when there is none."""
        body = {"worker": worker} | ({"queues": list(queues)} if queues is not None else {}) | _lease(lease_s)
        answer: Document | None = self.request("POST", "/v1/tasks:next", body)
        return answer

    def hand_over_task(
        self, task_id: str, worker: str, to: str, *, as_operator: bool = False, lease_s: float | None = None
    ) -> Document:
        """Give a task that the worker holds to somebody else; as an operator: whoever holds it."""
        body = {"worker": worker, "to": to, "asOperator": as_operator} | _lease(lease_s)
        return self._task(task_id, "handOver", body)

    def release_task(self, task_id: str, worker: str) -> Document:
        """Give a task back."""
        return self._task(task_id, "release", {"worker": worker})

    def complete_task(self, task_id: str, worker: str, data: Mapping[str, Any] | None = None) -> Document:
        """Hand in the values of the task's form."""
        return self._task(task_id, "complete", {"worker": worker, "data": dict(data or {})})

    def add_note(self, task_id: str, worker: str, text: str) -> Document:
        """Leave a note with a task; it is kept with the order's facts."""
        body = {"worker": worker, "text": text}
        answer: Document = self.request("POST", f"/v1/tasks/{_part(task_id)}/notes", body)
        return answer

    def notes(self, task_id: str) -> list[Document]:
        """The notes of a task, oldest first."""
        answer: list[Document] = self.request("GET", f"/v1/tasks/{_part(task_id)}/notes")
        return answer

    def bulk_tasks(
        self, action: str, task_ids: Sequence[str], worker: str, data: Mapping[str, Any] | None = None
    ) -> Document:
        """`claim`, `release` or `complete` up to 200 tasks (all with the same data); an outcome for each, in order."""
        body = {"worker": worker, "ids": list(task_ids)} | ({"data": dict(data)} if data is not None else {})
        answer: Document = self.request("POST", f"/v1/tasks:{_part(action)}", body)
        return answer

    def _task(self, task_id: str, action: str, body: Document) -> Document:
        answer: Document = self.request("POST", f"/v1/tasks/{_part(task_id)}:{action}", body)
        return answer

    # Queues and people.

    def list_queues(self) -> list[Document]:
        """Queues, with what is open, held and due in each."""
        answer: list[Document] = self.request("GET", "/v1/queues")
        return answer

    def queue(self, code: str) -> Document:
        """One queue with its members, and who changed them."""
        answer: Document = self.request("GET", f"/v1/queues/{_part(code)}")
        return answer

    def add_member(self, queue: str, worker: str) -> Document:
        """Make somebody a member of a queue."""
        answer: Document = self.request("PUT", f"/v1/queues/{_part(queue)}/members/{_part(worker)}")
        return answer

    def remove_member(self, queue: str, worker: str) -> None:
        """End a membership."""
        self.request("DELETE", f"/v1/queues/{_part(queue)}/members/{_part(worker)}")

    def list_workers(self, *, queue: str | None = None, limit: int = 100) -> list[Document]:
        """Workers with shift, skills and queues; with a queue its members alone."""
        answer: list[Document] = self.request("GET", "/v1/workers", query={"queue": queue, "limit": str(limit)})
        return answer

    def put_worker(
        self,
        name: str,
        *,
        on_shift: bool | None = None,
        on_shift_until: str | None = None,
        skills: Sequence[Mapping[str, Any]] | None = None,
    ) -> Document:
        """Say whether somebody is on shift, and all the skills they have; what is not given stays as it is."""
        given = {"onShift": on_shift, "onShiftUntil": on_shift_until, "skills": skills}
        body = {key: value for key, value in given.items() if value is not None}
        answer: Document = self.request("PUT", f"/v1/workers/{_part(name)}", body)
        return answer

    # Catalogue, systems, inventory.

    def list_releases(self) -> list[Document]:
        """Published releases, newest first."""
        answer: list[Document] = self.request("GET", "/v1/releases")
        return answer

    def release(self, release_id: str) -> Document:
        """A published release in its file form."""
        answer: Document = self.request("GET", f"/v1/releases/{_part(release_id)}")
        return answer

    def publish_release(self, release: Mapping[str, Any]) -> Document:
        """Check and publish a release; new orders take it from then on."""
        answer: Document = self.request("POST", "/v1/releases:publish", release)
        return answer

    def list_systems(self) -> list[Document]:
        """How this environment reaches its fulfilment systems."""
        answer: list[Document] = self.request("GET", "/v1/systems")
        return answer

    def put_system(self, code: str, adapter: str, config: Mapping[str, Any], concurrency: int = 50) -> Document:
        """Say how a system is reached."""
        body = {"adapter": adapter, "config": dict(config), "concurrency": concurrency}
        answer: Document = self.request("PUT", f"/v1/systems/{_part(code)}", body)
        return answer

    def import_inventory(self, products: Sequence[Mapping[str, Any]]) -> Document:
        """Load installed products (TMF637)."""
        answer: Document = self.request("POST", "/v1/inventory:import", {"products": list(products)})
        return answer

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

    def cluster(self) -> Document:
        """Orders per state, and counters of the cluster's actors."""
        answer: Document = self.request("GET", "/v1/cluster")
        return answer

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


def _lease(lease_s: float | None) -> Document:
    return {"leaseS": lease_s} if lease_s is not None else {}


def _part(text: str) -> str:
    return quote(text, safe="@~")
