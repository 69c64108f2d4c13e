"""One item of a running plan, as state; `domain/evolve.py` says what each fact does to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from domain.catalogue import ItemType
from domain.holds import HoldCause
from domain.lines import Line
from domain.release import ItemDef
from domain.states import RUNNING_ITEM_STATES, ItemState


@dataclass(slots=True)
class ItemRun:
    """One item of a plan.

    `waits` counts dependencies not yet satisfied, `branch_waits` those among all that were skipped with their branch.
    `attempt` numbers what was sent outside (it is part of the effect key), `tries` counts against the retry policy.
    `timer_at` is the retry time when Failed, the start when Scheduled, the deadline when Running. `sent` are the
    attributes of its lines when the attempt was first sent: sent again, it says the same under the same key, whatever
    other answers have changed meanwhile. `edited` is the payload that an operator gave it, or with which it was under
    way when an amendment overtook it, `failed_at` when it last was Fatally Failed.
    """

    key: str
    node: int
    definition: ItemDef | None
    waits: int
    state: ItemState = ItemState.PENDING
    attempt: int = 0
    tries: int = 0
    is_unheard: bool = False
    is_repeated: bool = False
    """Whether its attempt was sent more than once: what is heard of it may be about the sending before."""
    is_accepted: bool = False
    is_branch_skipped: bool = False
    branch_skipped_waits: int = 0
    is_simulated: bool = False
    worker: str | None = None
    error: str = ""
    error_code: str = ""
    skip_reason: str = ""
    timer_at: datetime | None = None
    ready_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    sent: tuple[dict[str, Any], ...] = ()
    edited: dict[str, Any] | None = None
    failed_at: datetime | None = None
    hold: Mapping[str, Any] | None = None
    """What has last put it On Hold: `system`, `cause`, `reason`, as its fact says."""
    held_at: datetime | None = None
    """When it was last put On Hold."""
    frozen_from: ItemState | None = None
    """While its plan is frozen: its state before."""
    paused_at: datetime | None = None
    """While its plan is frozen or held: its timer, which does not fire meanwhile."""
    lines_then: tuple[Line, ...] | None = None
    """Of what undoes another item: its lines as they were when that was done."""

    @property
    def is_callout(self) -> bool:
        """Whether somebody outside is called for it: a system, or a function of one's own."""
        return self.definition is not None and self.definition.is_call

    @property
    def standing(self) -> ItemState:
        """Its state as its lines and order see it: On Hold for want of room is Ready, because it goes on by itself."""
        if self.state is ItemState.ON_HOLD and self.hold is not None and self.hold["cause"] == HoldCause.BUSY:
            return ItemState.READY
        return self.state

    @property
    def state_shown(self) -> ItemState:
        """As lines, channels and dashboards see it: a freeze is an affair of the plan, not of the work."""
        return self.standing if self.frozen_from is None else self.frozen_from

    @property
    def is_running(self) -> bool:
        """Whether its work is under way, be the plan frozen or not."""
        return self.state in RUNNING_ITEM_STATES

    @property
    def is_waited_for(self) -> bool:
        """Whether a change of the order waits for the end of its work (REFERENCE b2, Frozen - Running)."""
        definition = self.definition
        return definition is not None and definition.is_call and self.is_running and definition.source.freeze == "wait"

    @property
    def is_event(self) -> bool:
        """Whether it waits for something to become true of its line."""
        return self.definition is not None and self.definition.type is ItemType.PUSH_EVENT

    @property
    def is_sub_plan(self) -> bool:
        """Whether it stands for the items of another plan definition."""
        return self.definition is not None and self.definition.type is ItemType.SUB_PLAN

    @property
    def is_manual(self) -> bool:
        """Whether a person does it."""
        return self.definition is not None and self.definition.type is ItemType.MANUAL_TASK
