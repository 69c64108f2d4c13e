"""The client's calls of the fallout desk and of campaigns: what failed for good, its repair, orders in bulk."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from orderplan.client_calls import Calls, Document, WaitedTooLong, part
from orderplan.transport import ApiError

LOAD_BYTES: Final = 1024 * 1024
LOAD_LINES: Final = 1_000


class DeskCalls(Calls):
    """Fallout, bulk jobs and campaigns."""

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
        key: str | None = None,
    ) -> Document:
        """Repair a frozen selection of failed items in the background; `argument` is an answer or what changes.

        Sending it again with the same `key` gives the first job back; without one the client makes a key of its own,
        so that its repeats are harmless, and every call is another job.
        """
        body: Document = {"reason": reason}
        if filter is not None:
            body["filter"] = filter
        if items is not None:
            body["items"] = [list(each) for each in items]
        if argument is not None:
            body[{"complete": "answer", "edit": "payload"}.get(action, "answer")] = argument
        if rate is not None:
            body["rate"] = rate
        headers = {"Idempotency-Key": key or uuid.uuid4().hex}
        made: Document = self.request(
            "POST", f"/v1/fallout:{part(action)}", body, headers=headers, is_repeatable=True
        )
        return made

    def create_campaign(self, name: str, reason: str, *, rate: float | None = None, key: str | None = None) -> Document:
        """Make a campaign, to be loaded and started: a job that submits orders at a rate; `key` as in `start_job`."""
        body: Document = {"name": name, "reason": reason}
        if rate is not None:
            body["rate"] = rate
        headers = {"Idempotency-Key": key or uuid.uuid4().hex}
        made: Document = self.request("POST", "/v1/campaigns", body, headers=headers, is_repeatable=True)
        return made

    def load_campaign(self, job_id: str, lines: Iterable[bytes], *, after: int = 0) -> int:
        """Append orders to a campaign that has `after` so far, one JSON object a line; how many it has then.

        When it fails, `job(job_id)["total"]` tells how many are in: go on with the next one, and that as `after`. One
        loader at a time: what two append may be taken for the other's.

        Raises:
            ApiError: it has another number of orders, or takes no more.
        """
        found = self.job(job_id)["total"]
        if found != after:
            raise ApiError(
                409, "notPossibleNow", f"campaign {job_id} has {found} orders, not {after}", mend=f"say after={found}"
            )
        for batch in _batches(lines):
            query, wanted = {"after": str(after)}, after + len(batch)
            try:
                self.request(
                    "POST", f"/v1/campaigns/{part(job_id)}/orders", b"\n".join(batch), query=query, is_repeatable=True
                )
            except ApiError as error:
                # A repeat of what had been done, though nobody heard of it.
                if error.facts.get("lines") != wanted:
                    raise
            after = wanted
        return after

    def start_campaign(self, job_id: str) -> Document:
        """Let a campaign submit its orders; from then on it is steered like any job."""
        found: Document = self.request("POST", f"/v1/campaigns/{part(job_id)}:start", {})
        return found

    def list_jobs(self) -> list[Document]:
        """Bulk jobs, newest first."""
        found: list[Document] = self.request("GET", "/v1/jobs")
        return found

    def job(self, job_id: str) -> Document:
        """How far a job is."""
        found: Document = self.request("GET", f"/v1/jobs/{part(job_id)}")
        return found

    def job_items(
        self, job_id: str, *, outcome: str | None = None, after: int = 0, limit: int = 100
    ) -> list[Document]:
        """What became of the items of a job, and the state they are in now."""
        query = {"outcome": outcome, "after": str(after), "limit": str(limit)}
        found: list[Document] = self.request("GET", f"/v1/jobs/{part(job_id)}/items", query=query)
        return found

    def steer_job(self, job_id: str, action: str) -> Document:
        """Pause, resume or stop a job."""
        found: Document = self.request("POST", f"/v1/jobs/{part(job_id)}:{part(action)}", {})
        return found

    def wait_for_job(
        self,
        job_id: str,
        *,
        timeout_s: float = 3600.0,
        poll_s: float = 0.3,
        heard: Callable[[Document], object] | None = None,
    ) -> Document:
        """The job once it is done, stopped or paused; `heard` is told each time how far it is.

        Raises:
            WaitedTooLong: it was still running after the time.
        """
        until = self._clock() + timeout_s
        while (job := self.job(job_id))["state"] == "running":
            if self._clock() >= until:
                raise WaitedTooLong(job_id, job["state"], timeout_s, what="job")
            if heard is not None:
                heard(job)
            self._sleep(poll_s)
        return job


def _batches(lines: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Lines that are not blank, as many together as one request should hold."""
    batch: list[bytes] = []
    size = 0
    for line in lines:
        if not line.strip():
            continue
        batch.append(line.strip())
        size += len(line)
        if size >= LOAD_BYTES or len(batch) == LOAD_LINES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
