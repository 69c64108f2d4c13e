"""The client's calls of the fallout desk: what failed for good, and its repair in bulk."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from orderplan.client_calls import Calls, Document, WaitedTooLong, part


class DeskCalls(Calls):
    """Fallout and bulk jobs."""

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
