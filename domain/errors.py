"""Everything that can be refused, one sentence each.

An error carries the HTTP status that the gateway answers with, a stable `code`, the `path` of the offending field where
there is one, and facts as attributes. Bugs are assertions; what can happen to correct code is a state or one of these.
"""

from __future__ import annotations

from typing import Any


class OrderplanError(Exception):
    """Base of all refusals; `status` is the HTTP status, `code` a stable name for programs."""

    status: int = 500
    code: str = "internal"

    def __init__(self, reason: str, *, path: str | None = None, mend: str | None = None, **facts: Any) -> None:
        super().__init__(reason)
        self.reason = reason
        self.path = path
        self.mend = mend
        self.facts = facts

    def __reduce__(self) -> tuple[Any, ...]:
        # Refusals travel between processes as values; subclasses have constructors of their own.
        return _restored, (type(self), self.args, self.__dict__)

    def __str__(self) -> str:
        text = f"{self.path}: {self.reason}" if self.path else self.reason
        return f"{text} ({self.mend})" if self.mend else text

    def as_dict(self) -> dict[str, Any]:
        """What an API shows of it: code, reason and, where known, path, mend and facts."""
        shown: dict[str, Any] = {"code": self.code, "reason": self.reason}
        if self.path:
            shown["path"] = self.path
        if self.mend:
            shown["mend"] = self.mend
        shown.update(self.facts)
        return shown


def _restored(cls: type[OrderplanError], args: tuple[Any, ...], members: dict[str, Any]) -> OrderplanError:
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(members)
    return error


class IllegalTransition(OrderplanError):
    """A state has no arrow for the event; nothing was changed."""

    status = 409
    code = "illegalTransition"

    def __init__(self, state: str, event: str) -> None:
        super().__init__(f"nothing leads from state {state!s} on {event!s}", state=str(state), event=str(event))
        self.state = state
        self.event = event


class BadExpression(OrderplanError):
    """A CEL text does not compile or names a variable that it may not read."""

    status = 422
    code = "badExpression"

    def __init__(self, source: str, reason: str) -> None:
        super().__init__(reason, source=source[:200])
        self.source = source


class ExpressionFailed(OrderplanError):
    """A CEL expression compared what cannot be compared."""

    status = 422
    code = "expressionFailed"

    def __init__(self, source: str, reason: str) -> None:
        super().__init__(f"{reason} in: {source[:200]}", source=source[:200])
        self.source = source


class BadRelease(OrderplanError):
    """A catalogue release cannot be published; `findings` lists every reason."""

    status = 422
    code = "badRelease"


class BadDocument(OrderplanError):
    """A document is not of the agreed shape; `path` names the field."""

    status = 400
    code = "badDocument"


class UnknownProduct(OrderplanError):
    """An order line names no product of the release."""

    status = 400
    code = "unknownProduct"


class InventoryConflict(OrderplanError):
    """What the order wants contradicts what the account has (or will have)."""

    status = 409
    code = "inventoryConflict"


class ParentUnknown(OrderplanError):
    """The account has no product of the id that an imported one names as its parent."""

    status = 409
    code = "parentUnknown"


class OpenOrderConflict(OrderplanError):
    """The root asset has an open order, and the release does not let a second one wait."""

    status = 409
    code = "openOrder"


class ClientKeyReused(OrderplanError):
    """The same client key came with another body."""

    status = 409
    code = "clientKeyReused"


class StaleRelease(OrderplanError):
    """The order names a release that is not the current one; new orders take that one only."""

    status = 409
    code = "staleRelease"


class NothingToFulfil(OrderplanError):
    """No line of the order composes an item."""

    status = 422
    code = "nothingToFulfil"


class NotFound(OrderplanError):
    """There is no such order, item, task, system, queue or release."""

    status = 404
    code = "notFound"


class NotPossibleNow(OrderplanError):
    """The item or order is in a state that does not allow the action; nothing was changed."""

    status = 409
    code = "notPossibleNow"


class Conflict(OrderplanError):
    """What is wanted of an order contradicts what it, or another open order, is about; nothing was changed."""

    status = 409
    code = "conflict"


class MutualWait(OrderplanError):
    """Orders would wait for one another for ever; the one that would close the circle was not taken in."""

    status = 409
    code = "mutualWait"


class PastNoReturn(OrderplanError):
    """A bundle is past its point of no return, so it is neither amended nor cancelled; nothing was changed."""

    status = 409
    code = "pointOfNoReturn"


class ProtectedAttribute(OrderplanError):
    """The catalogue says that an attribute does not change while the order runs; nothing was changed."""

    status = 422
    code = "protectedAttribute"


class StaleVersion(OrderplanError):
    """It has been changed since the version that the request was made for; nothing was changed."""

    status = 412
    code = "staleVersion"


class BadForm(OrderplanError):
    """What was filled in does not meet the form; `path` names the field (`data.address.street`)."""

    status = 422
    code = "badForm"


class NotQualified(OrderplanError):
    """The person is no member of the task's queue, or lacks a skill that the task needs."""

    status = 403
    code = "notQualified"


class Forbidden(OrderplanError):
    """The caller lacks the role that this needs."""

    status = 403
    code = "forbidden"


class TaskTaken(OrderplanError):
    """Somebody else holds the manual task, or nobody does any more."""

    status = 409
    code = "taskTaken"


class TooLarge(OrderplanError):
    """The document is larger than the gateway takes."""

    status = 413
    code = "tooLarge"


class StreamGone(OrderplanError):
    """The stream cannot be resumed at this place: facts after it were archived or erased."""

    status = 410
    code = "streamGone"


class Busy(OrderplanError):
    """A bound is reached; try again after `retry_after_s`."""

    status = 503
    code = "busy"


class Unstorable(OrderplanError):
    """A value cannot be stored (NUL character, lone surrogate, out of range)."""

    status = 422
    code = "unstorable"


class PlanUnreadable(OrderplanError):
    """The stored facts of an order make no plan: they are damaged, or newer than this program. It stands still."""

    status = 500
    code = "planUnreadable"
