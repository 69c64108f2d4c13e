"""The client's calls that change orders under way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from orderplan.client_calls import Calls, Document, part

_DRY: Final = {"dryRun": "true"}
_CANCEL: Final = "/tmf-api/productOrderingManagement/v4/cancelProductOrder"


class ChangeCalls(Calls):
    """Hold, amend, cancel, move; each with what would come of it before it is done."""

    def preview_order(self, order: Mapping[str, Any]) -> Document:
        """What would become of a TMF622 product order: its lines and its plan; nothing is stored."""
        path = "/tmf-api/productOrderingManagement/v4/productOrder"
        answer: Document = self.request("POST", path, order, query=_DRY, is_repeatable=True)
        return answer

    def steer_order(self, order_id: str, action: str, reason: str, *, priority: str | None = None) -> Document:
        """Carry out `hold`, `resume`, `freeze`, `thaw` or `prioritize` (to `priority`: high, normal, low)."""
        body: Document = {"reason": reason}
        if priority is not None:
            body["priority"] = priority
        answer: Document = self.request("POST", f"/v1/orders/{part(order_id)}:{action}", body)
        return answer

    def amend_order(
        self, order_id: str, order: Mapping[str, Any], reason: str, *, force: bool = False, **options: Any
    ) -> Document:
        """Make the order what `order` says, which is the whole new TMF622 order; options as of `change_order`."""
        return self.change_order(order_id, "amend", reason, {"order": order}, force=force, **options)

    def cancel_order(
        self, order_id: str, reason: str, *, items: Sequence[str] = (), force: bool = False, **options: Any
    ) -> Document:
        """Take the order back, or only the bundles of these order items; options as of `change_order`."""
        body = {"items": list(items)} if items else {}
        return self.change_order(order_id, "cancel", reason, body, force=force, **options)

    def move_order(
        self, order_id: str, release: str, reason: str, *, force: bool = False, **options: Any
    ) -> Document:
        """Have the order run by another release; options as of `change_order`."""
        return self.change_order(order_id, "move", reason, {"release": release}, force=force, **options)

    def change_order(
        self,
        order_id: str,
        kind: str,
        reason: str,
        body: Mapping[str, Any],
        *,
        dry_run: bool = False,
        force: bool = False,
        version: int | None = None,
    ) -> Document:
        """Amend, cancel or move an order.

        Args:
            order_id: the order.
            kind: `amend`, `cancel` or `move`.
            reason: kept in the audit trail.
            body: what the change is, as the API has it.
            dry_run: only say what would come of it.
            force: past the point of no return too; for managers.
            version: refuse it if the order is another one than the version that this was made for.
        """
        action = f"force{kind.capitalize()}" if force else kind
        document = {**body, "reason": reason} | ({} if version is None else {"version": version})
        path = f"/v1/orders/{part(order_id)}:{action}"
        query = _DRY if dry_run else None
        answer: Document = self.request("POST", path, document, query=query, is_repeatable=dry_run)
        return answer

    def patch_order(
        self, order_id: str, patch: Mapping[str, Any], reason: str, *, dry_run: bool = False, version: int | None = None
    ) -> Document:
        """Say what is known better by now: `lines` by id with `attributes`, `quantity`...; `description`, `dueAt`."""
        query = _DRY if dry_run else None
        headers = {"If-Match": f'"{version}"'} if version is not None else {}
        answer: Document = self.request(
            "PATCH", f"/v1/orders/{part(order_id)}", {**patch, "reason": reason}, query=query, headers=headers
        )
        return answer

    def cancel_product_order(self, order_id: str, reason: str | None = None) -> Document:
        """Take a whole order back as its channel does (TMF622); returns the cancellation."""
        body: Document = {"productOrder": {"id": order_id}}
        if reason is not None:
            body["cancellationReason"] = reason
        answer: Document = self.request("POST", _CANCEL, body)
        return answer

    def cancellation(self, task_id: str) -> Document:
        """How a cancellation goes (TMF622)."""
        answer: Document = self.request("GET", f"{_CANCEL}/{part(task_id)}")
        return answer
