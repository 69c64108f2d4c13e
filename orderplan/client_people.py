"""The client's calls of manual tasks, queues and people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from orderplan.client_calls import Calls, Document, part


class PeopleCalls(Calls):
    """Tasks, queues, workers."""

    def list_tasks(
        self, *, queue: str | None = None, worker: str | None = None, is_free: bool = False, limit: int = 100
    ) -> list[Document]:
        """Open tasks, most urgent first: those that the worker may do, and with `is_free` those that nobody holds."""
        query = {"queue": queue, "worker": worker, "free": "true" if is_free else None, "limit": str(limit)}
        answer: list[Document] = self.request("GET", "/v1/tasks", query=query)
        return answer

    def task(self, task_id: str) -> Document:
        """One task, open or closed."""
        answer: Document = self.request("GET", f"/v1/tasks/{part(task_id)}")
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
        answer: Document = self.request("POST", f"/v1/tasks/{part(task_id)}/notes", body)
        return answer

    def notes(self, task_id: str) -> list[Document]:
        """The notes of a task, oldest first."""
        answer: list[Document] = self.request("GET", f"/v1/tasks/{part(task_id)}/notes")
        return answer

    def bulk_tasks(
        self, action: str, task_ids: Sequence[str], worker: str, data: Mapping[str, Any] | None = None
    ) -> Document:
        """`claim`, `release` or `complete` up to 200 tasks (all with the same data); an outcome for each, in order."""
        body = {"worker": worker, "ids": list(task_ids)} | ({"data": dict(data)} if data is not None else {})
        answer: Document = self.request("POST", f"/v1/tasks:{part(action)}", body)
        return answer

    def _task(self, task_id: str, action: str, body: Document) -> Document:
        answer: Document = self.request("POST", f"/v1/tasks/{part(task_id)}:{action}", body)
        return answer

    # Queues and people.

    def list_queues(self) -> list[Document]:
        """Queues, with what is open, held and due in each."""
        answer: list[Document] = self.request("GET", "/v1/queues")
        return answer

    def queue(self, code: str) -> Document:
        """One queue with its members, and who changed them."""
        answer: Document = self.request("GET", f"/v1/queues/{part(code)}")
        return answer

    def add_member(self, queue: str, worker: str) -> Document:
        """Make somebody a member of a queue."""
        answer: Document = self.request("PUT", f"/v1/queues/{part(queue)}/members/{part(worker)}")
        return answer

    def remove_member(self, queue: str, worker: str) -> None:
        """End a membership."""
        self.request("DELETE", f"/v1/queues/{part(queue)}/members/{part(worker)}")

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
        answer: Document = self.request("PUT", f"/v1/workers/{part(name)}", body)
        return answer


def _lease(lease_s: float | None) -> Document:
    return {"leaseS": lease_s} if lease_s is not None else {}
