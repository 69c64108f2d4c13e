"""A catalogue release: what can be ordered, how it decomposes, and which plans deliver it.

A release is an immutable, versioned set. This module is its file form (YAML or JSON, one schema): what a team keeps in
git and what importers produce. `domain/release.py` compiles it for running. A release names systems and queues by code
only; addresses, credentials and people are environment and may differ between test and production.
Sources of the fields: decomposition relationships, orchestration scenarios, plan, item and dependency definitions of
Salesforce Industries Order Management, and the TM Forum TMF620/TMF633 specifications.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

FORMAT: Final = "orderplan.release/1"

Code = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f@~]+$")]
"""Names an element of a release. `@` and `~` are kept for item keys, control characters are refused."""
Cel = Annotated[str, StringConstraints(max_length=4000)]
"""A CEL expression; empty means none."""


class _Element(BaseModel):
    # The texts below the fields become the descriptions of the JSON Schema and the tables of docs/CATALOGUE.md.
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, use_attribute_docstrings=True)


class Action(StrEnum):
    """What an order line asks for, and what a technical line comes out as (TMF622 plus the field's sub-actions)."""

    ADD = "add"
    MODIFY = "modify"
    DELETE = "delete"
    NO_CHANGE = "noChange"
    SUSPEND = "suspend"
    RESUME = "resume"
    MOVE = "move"


class Scope(StrEnum):
    """Over which lines one instance is shared, from widest to narrowest.

    For technical products: all sources inside one instance merge into one fulfilment line. For items and dependencies:
    one item per instance, and dependencies resolve inside one.
    """

    GLOBAL = "global"
    ACCOUNT = "account"
    ORDER = "order"
    BUNDLE = "bundle"
    MAIN_ITEM = "mainItem"
    ITEM = "item"
    KEY = "key"


RELATED_ORDER: Final = "relatedOrder"
"""A scope of dependencies only: the orders that an order says it relates to."""


class ItemType(StrEnum):
    """The kinds of work a plan can hold."""

    MILESTONE = "milestone"
    CALLOUT = "callout"
    AUTO_TASK = "autoTask"
    MANUAL_TASK = "manualTask"
    PUSH_EVENT = "pushEvent"
    SUB_PLAN = "subPlan"


class Attribute(_Element):
    """A declared attribute of a product."""

    name: str = Field(min_length=1, max_length=200)
    """How channels, mappings and expressions call it."""
    type: Literal["string", "integer", "number", "boolean", "object", "any"] = "any"
    """What its values are; for those who read the catalogue, orders are not held to it."""
    assetizable: bool = True
    """False: kept only while the order runs, sealed under the order's key, never written to the inventory."""
    encrypted: bool = False
    """True: stored as ciphertext only, everywhere."""
    searchable: bool = False
    """Products can be found by its values, encrypted ones too."""
    significant: bool = True
    """False: a different value neither turns a technical line into a modify nor redoes work."""
    changeable: bool = True
    """False: neither an amendment nor a patch gives it another value while the order runs."""
    default: Any = None
    """The value of a newly added product whose order gives none."""


class Product(_Element):
    """A commercial offering or a technical (fulfilment) product."""

    code: Code
    """Its name inside the release."""
    name: str = ""
    """For people; without one, the code."""
    kind: Literal["commercial", "technical", "both"] = "technical"
    """`commercial`: what is sold, found by productOffering.id; `technical`: what is delivered, by
    productSpecification.id; `both`: sold and delivered under one id, found by either."""
    external_id: str | None = Field(default=None, alias="externalId")
    """How channels name it: productOffering.id of a commercial product, productSpecification.id of a technical one.
    None: by its code."""
    product_class: Code | None = Field(default=None, alias="class")
    """Its class; scenarios and decompositions of the class hold for it."""
    attributes: tuple[Attribute, ...] = ()
    """Declared attributes; what becomes of others says `undeclared` of the release."""
    scope: Scope = Scope.ITEM
    """Over which order lines one instance is shared when rules decompose into it."""
    scope_key: str | None = Field(default=None, alias="scopeKey")
    """With scope `key`: the attribute whose value names the instance."""
    quantity: Literal["one", "sum", "max"] = "sum"
    """The quantity of an instance that several lines feed: always one, or the sum or maximum of theirs."""
    asset: bool = True
    """False: lines of it are never assets (an offering that merely sells a specification)."""
    assetize: Literal["auto", "explicit"] = "auto"
    """`explicit`: becomes an asset only through an assetize item of its plan."""


class ProductClass(_Element):
    """A class of products; its scenarios and decompositions hold for its products and those of the classes below."""

    code: Code
    """Its name inside the release."""
    parent: Code | None = None
    """The class above it."""


class Mapping(_Element):
    """One way a target attribute gets its value; exactly one of copy, static, list, expression or function."""

    to: str = Field(min_length=1)
    """The attribute of the target that is set."""
    copy_from: str | None = Field(default=None, alias="copy")
    """The attribute of the source whose value is taken over."""
    static: Any = None
    """This value, whatever the source says."""
    list_of: str | None = Field(default=None, alias="list")
    """Source attribute looked up in `table`; a value that is not in the table leaves the target unset."""
    table: dict[str, Any] = Field(default_factory=dict)
    """With `list`: source value (as text) to target value."""
    expression: Cel | None = None
    """CEL over the source line, giving the value."""
    function: str | None = Field(default=None, min_length=1, max_length=200)
    """A price function of one's own, whose value of that name is taken: its name in the entry points
    `orderplan.price_functions`, or `module:function`. Mappings of a rule that name one function share one call."""


class Decomposition(_Element):
    """A rule: a line of `source`, or of any product of `sourceClass`, gives (or feeds) a line of `target`."""

    name: Code
    """Its name; keys of technical lines and the audit trail carry it."""
    source: Code | None = None
    """The product whose lines it reads; give this or `sourceClass`."""
    source_class: Code | None = Field(default=None, alias="sourceClass")
    """The class of products whose lines it reads."""
    target: Code
    """The product that it gives."""
    when: Cel = ""
    """CEL over the source line; empty: always. A delete always follows what was installed."""
    priority: int = Field(default=3, ge=1, le=1000)
    """Two rules that set the same attribute: the lower number wins, then the lower name."""
    map: tuple[Mapping, ...] = ()
    """How the target's attributes get their values."""


class Retry(_Element):
    """A retry policy. `delays_s` in order, the last one repeats until `attempts_max` attempts are made."""

    code: Code
    """Its name inside the release."""
    attempts_max: int = Field(default=3, ge=1, le=1_000_000, alias="attemptsMax")
    """Attempts in all; after the last the item needs a person."""
    delays_s: tuple[Annotated[float, Field(ge=0, le=366 * 86400)], ...] = Field(default=(30.0,), alias="delaysS")
    """Seconds before each further attempt; the last one repeats."""


class FormField(_Element):
    """A value that a manual task returns; written back to the line attribute of that name."""

    name: str = Field(min_length=1)
    """The field, and the line attribute that it sets."""
    type: Literal["string", "integer", "number", "boolean"] = "string"
    """What may be filled in."""
    required: bool = False
    """True: the task is not done without it."""


class SkillNeed(_Element):
    """A skill without which nobody may take a manual task."""

    skill: Code
    """The skill's name; who has it is environment."""
    level: int = Field(default=1, ge=1, le=100)
    """The level that is needed at least."""


class Item(_Element):
    """An item definition: one kind of work inside a plan definition."""

    code: Code
    """Its name inside the plan."""
    name: str = ""
    """For people; without one, the code."""
    type: ItemType
    """`callout`: a call to a system; `manualTask`: work of a person; `autoTask`: work of orderplan itself or of a
    function of one's own; `milestone`: a point that others wait for; `pushEvent`: waits until something is true of its
    line; `subPlan`: the items of another plan definition, done when all of them are."""
    scope: Scope | None = None
    """None: the plan definition's."""
    scope_key: str | None = Field(default=None, alias="scopeKey")
    """With scope `key`: the line attribute whose value names the instance."""
    condition: Cel = ""
    """Evaluated when the item's dependencies are satisfied; false means Skipped."""
    skip_branch: bool = Field(default=False, alias="skipBranch")
    """True: when skipped, items that wait only for skipped branches are skipped too."""
    point_of_no_return: bool = Field(default=False, alias="pointOfNoReturn")
    """True: once it has started, the whole bundle is neither amended nor cancelled any more, unless somebody who may
    forces it; shown in the plan."""
    on_amend: Literal["redo", "undoThenRedo", "nothing"] | None = Field(default=None, alias="onAmend")
    """What becomes of it when it is done and an amendment changes what it worked on: done again (`redo`), undone by its
    rollback plan and then done again, or left as it is. None: a callout, a manual task, a back-propagation, an assetize
    item and a function of one's own are done again, the rest is left. An amend plan takes the place of all that."""
    amend_plan: Code | None = Field(default=None, alias="amendPlan")
    """The plan definition that brings what it has done in line with an amendment, instead of doing it again."""
    rollback_plan: Code | None = Field(default=None, alias="rollbackPlan")
    """The plan definition that undoes it, when it is done and nobody needs it any more. Several go in the reverse order
    of what they undo. None: nothing is undone, and previews say so."""
    leaves_nothing: bool = Field(default=False, alias="leavesNothing")
    """True: what it does outside is nothing that anybody would have to undo, like a question or a message."""
    rollback_group: Code | None = Field(default=None, alias="rollbackGroup")
    """Items with the same rollback plan and group are undone together: once for each bundle."""
    freeze: Literal["wait", "goOn"] = "wait"
    """Callout, and auto task of one's own: what a change of the order does while it runs. `wait`: for its end; `goOn`:
    the change is carried out at once. Manual tasks and push events are never waited for."""
    process_after: Cel = Field(default="", alias="processAfter")
    """CEL giving an instant (RFC 3339 text); the item is Scheduled until then."""
    system: Code | None = None
    """Callout: the system that is called."""
    operation: str = ""
    """Callout: what the system is asked to do; the http adapter makes it the end of the address."""
    queue: Code | None = None
    """Manual task: the queue that it waits in."""
    task: Code | None = None
    """Auto task: `assetize`, `backPropagate` (brings what the line has got to the order lines that it came from),
    `noop`, or a function of one's own: its name in the entry points `orderplan.auto_tasks`, or `module:function`."""
    event: Cel = ""
    """Push event: CEL over its line; it is done as soon as any of its lines meets it. Empty: an operator completes
    it."""
    event_timeout_s: float | None = Field(default=None, gt=0, le=366 * 86400, alias="eventTimeoutS")
    """Push event: seconds after which it needs a person; None: it waits for as long as it takes."""
    sub_plan: Code | None = Field(default=None, alias="subPlan")
    """Sub-plan: the plan definition whose items it stands for, instantiated once for it, whatever their own scope. No
    scenario and no other item may name that plan."""
    request: dict[str, Cel] | None = None
    """Payload fields by CEL; None: the standard payload of a line."""
    response: dict[str, Cel] | None = None
    """Line attributes by CEL over `answer`; None: the answer's `attributes` that the product declares."""
    form: tuple[FormField, ...] = ()
    """Manual task: what the worker fills in; give this or `formSchema`."""
    form_schema: dict[str, Any] | None = Field(default=None, alias="formSchema")
    """Manual task: what the worker fills in, as JSON Schema (draft 2020-12) with an object at its root; its top-level
    properties set the line attributes of their names."""
    skills: tuple[SkillNeed, ...] = ()
    """Manual task: what somebody must be able to do to take it."""
    retry: Code | None = None
    """Callout, and auto task of one's own: its retry policy; None: three attempts, 30 s apart."""
    timeout_s: float = Field(default=30.0, gt=0, le=366 * 86400, alias="timeoutS")
    """Callout, and auto task of one's own: seconds until an attempt counts as failed, waiting for a callback
    included."""
    error_queue: Code | None = Field(default=None, alias="errorQueue")
    """Where people look for it when it has failed for good, by a name of your own; None: under its system."""
    duration_s: float | None = Field(default=None, ge=0, alias="durationS")
    """Planned duration, for due dates and delay prediction."""
    safety_interval_s: float | None = Field(default=None, ge=0, alias="safetyIntervalS")
    """How long before its planned end an item is in jeopardy, as the order's risk shows (docs/DELAY.md)."""


class Plan(_Element):
    """A plan definition: one lane of items."""

    code: Code
    """Its name inside the release."""
    name: str = ""
    """For people; without one, the code."""
    scope: Scope = Scope.ITEM
    """The scope of its items that give none of their own."""
    items: tuple[Item, ...]
    """The work. Their order means nothing: only dependencies do."""


class ItemRef(_Element):
    """Names an item definition by its plan and its own code."""

    plan: Code
    """The plan's code."""
    item: Code
    """The item's code."""

    def __str__(self) -> str:
        return f"{self.plan}/{self.item}"


class Dependency(_Element):
    """Order between two item definitions; belongs to `item`.

    `dependsOn`: `item` waits for `other`. `processedBefore`: `other` waits for `item`. Where the order has `item` but
    no `other` inside the scope, the dependency is void: it never blocks, and `explain` names it.
    Of scope `relatedOrder` (with `dependsOn` only): `item` waits for every `other` of the orders that its order
    relates to (`orderRelationship` of TMF622). They may come before or after it and be of any account; until each of
    them has come and has a plan, `item` waits. `item` and `other` may be the same definition.
    """

    item: ItemRef
    """The item that it belongs to."""
    other: ItemRef
    """The item at its other end."""
    type: Literal["dependsOn", "processedBefore"] = "dependsOn"
    """Who waits: `item` (dependsOn) or `other` (processedBefore)."""
    scope: Scope | Literal["relatedOrder"] | None = None
    """None: the narrowest scope that both items share."""


class Scenario(_Element):
    """When a line of this product (or class) with one of these actions composes the plan."""

    plan: Code
    """The plan definition that composes."""
    product: Code | None = None
    """The product whose lines it is about; give this or `class`."""
    product_class: Code | None = Field(default=None, alias="class")
    """The class whose products it is about."""
    actions: tuple[Action, ...] = Field(min_length=1)
    """The line actions that it is about."""
    sub_actions: tuple[str, ...] = Field(default=(), alias="subActions")
    """Only lines with one of these sub-actions, such as `renew`; empty: whatever the sub-action."""
    when: Cel = ""
    """CEL over the line; empty: always. Several scenarios may hold for one line: all of them compose."""


class System(_Element):
    """A fulfilment system by code; where it is and how it is called is environment."""

    code: Code
    """Its name, by which items and the environment know it."""
    name: str = ""
    """For people."""


class Queue(_Element):
    """A manual queue by code; who works in it is environment."""

    code: Code
    """Its name, by which items and the environment know it."""
    name: str = ""
    """For people."""


class Release(_Element):
    """A whole release, as kept in a file."""

    format: Literal["orderplan.release/1"] = FORMAT
    """The form of the file."""
    code: Code
    """The catalogue's name."""
    version: str = Field(min_length=1, max_length=100)
    """A text of your own; a published version never changes. New orders take the current release: of those whose moment
    has come, the last one."""
    undeclared: Literal["keep", "seal", "drop"] = "keep"
    """What becomes of attributes that the product does not declare."""
    empty_plan: Literal["reject", "complete"] = Field(default="reject", alias="emptyPlan")
    """What becomes of an order for which there is nothing to do."""
    open_order: Literal["wait", "refuse"] = Field(default="wait", alias="openOrder")
    """What becomes of a second order on a root asset that has an open one."""
    relations: dict[Code, Literal["after", "before"]] = Field(default_factory=dict)
    """Which relations between the items of an order say who goes first, by type: whoever has one like `reliesOn: after`
    is delivered after the item that it names, and removed before it. Of items that go in opposite directions, and for
    types that are not named here, a relation says nothing."""
    products: tuple[Product, ...]
    """What can be ordered and delivered."""
    classes: tuple[ProductClass, ...] = ()
    """Classes of products."""
    decompositions: tuple[Decomposition, ...] = ()
    """Which lines give which technical lines."""
    plans: tuple[Plan, ...] = ()
    """The work, by plan definitions."""
    dependencies: tuple[Dependency, ...] = ()
    """What waits for what, also across plans."""
    scenarios: tuple[Scenario, ...] = ()
    """Which lines compose which plans."""
    retries: tuple[Retry, ...] = ()
    """Retry policies."""
    systems: tuple[System, ...] = ()
    """Fulfilment systems by code."""
    queues: tuple[Queue, ...] = ()
    """Manual queues by code."""
    dedicated: Cel = ""
    """CEL over the order: true gives the order's plan a Ray actor of its own."""
