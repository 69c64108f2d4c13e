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
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


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


class ItemType(StrEnum):
    """The kinds of work a plan can hold."""

    MILESTONE = "milestone"
    CALLOUT = "callout"
    AUTO_TASK = "autoTask"
    MANUAL_TASK = "manualTask"


class Attribute(_Element):
    """A declared attribute of a product."""

    name: str = Field(min_length=1, max_length=200)
    type: Literal["string", "integer", "number", "boolean", "object", "any"] = "any"
    assetizable: bool = True
    """False: kept only while the order runs, sealed under the order's key, never written to the inventory."""
    encrypted: bool = False
    """True: stored as ciphertext only, everywhere."""
    searchable: bool = False
    significant: bool = True
    """False: a different value neither turns a technical line into a modify nor redoes work."""
    default: Any = None


class Product(_Element):
    """A commercial offering or a technical (fulfilment) product."""

    code: Code
    name: str = ""
    kind: Literal["commercial", "technical"] = "technical"
    external_id: str | None = Field(default=None, alias="externalId")
    """How channels name it: productOffering.id of a commercial product, productSpecification.id of a technical one.
    None: by its code."""
    product_class: Code | None = Field(default=None, alias="class")
    attributes: tuple[Attribute, ...] = ()
    scope: Scope = Scope.ITEM
    scope_key: str | None = Field(default=None, alias="scopeKey")
    """With scope `key`: the attribute whose value names the instance."""
    quantity: Literal["one", "sum", "max"] = "sum"
    asset: bool = True
    """False: lines of it are never assets (an offering that merely sells a specification)."""
    assetize: Literal["auto", "explicit"] = "auto"
    """`explicit`: becomes an asset only through an assetize item of its plan."""


class ProductClass(_Element):
    """A class of products; scenarios on it hold for every product of it and of the classes below it."""

    code: Code
    parent: Code | None = None


class Mapping(_Element):
    """One way a target attribute gets its value; exactly one of copy, static, list or expression."""

    to: str = Field(min_length=1)
    copy_from: str | None = Field(default=None, alias="copy")
    static: Any = None
    list_of: str | None = Field(default=None, alias="list")
    """Source attribute looked up in `table`; a value that is not in the table leaves the target unset."""
    table: dict[str, Any] = Field(default_factory=dict)
    expression: Cel | None = None


class Decomposition(_Element):
    """A rule: a line of `source` gives (or feeds) a line of `target`."""

    name: Code
    source: Code
    target: Code
    when: Cel = ""
    priority: int = Field(default=3, ge=1, le=1000)
    """Two rules that set the same attribute: the lower number wins, then the lower name."""
    map: tuple[Mapping, ...] = ()


class Retry(_Element):
    """A retry policy. `delays_s` in order, the last one repeats until `attempts_max` attempts are made."""

    code: Code
    attempts_max: int = Field(default=3, ge=1, le=1_000_000, alias="attemptsMax")
    delays_s: tuple[Annotated[float, Field(ge=0, le=366 * 86400)], ...] = Field(default=(30.0,), alias="delaysS")


class FormField(_Element):
    """A value that a manual task returns; written back to the line attribute of that name."""

    name: str = Field(min_length=1)
    type: Literal["string", "integer", "number", "boolean"] = "string"
    required: bool = False


class Item(_Element):
    """An item definition: one kind of work inside a plan definition."""

    code: Code
    name: str = ""
    type: ItemType
    scope: Scope | None = None
    """None: the plan definition's."""
    scope_key: str | None = Field(default=None, alias="scopeKey")
    condition: Cel = ""
    """Evaluated when the item's dependencies are satisfied; false means Skipped."""
    skip_branch: bool = Field(default=False, alias="skipBranch")
    """True: when skipped, items that wait only for skipped branches are skipped too."""
    point_of_no_return: bool = Field(default=False, alias="pointOfNoReturn")
    process_after: Cel = Field(default="", alias="processAfter")
    """CEL giving an instant (RFC 3339 text); the item is Scheduled until then."""
    system: Code | None = None
    operation: str = ""
    queue: Code | None = None
    task: Code | None = None
    """Auto task implementation: `assetize`, `noop`, or an entry point's name."""
    request: dict[str, Cel] | None = None
    """Payload fields by CEL; None: the standard payload of a line."""
    response: dict[str, Cel] | None = None
    """Line attributes by CEL over `answer`; None: the answer's `attributes` that the product declares."""
    form: tuple[FormField, ...] = ()
    retry: Code | None = None
    timeout_s: float = Field(default=30.0, gt=0, le=366 * 86400, alias="timeoutS")
    duration_s: float | None = Field(default=None, ge=0, alias="durationS")
    """Planned duration, for due dates and delay prediction."""
    safety_interval_s: float | None = Field(default=None, ge=0, alias="safetyIntervalS")


class Plan(_Element):
    """A plan definition: one lane of items."""

    code: Code
    name: str = ""
    scope: Scope = Scope.ITEM
    items: tuple[Item, ...]


class ItemRef(_Element):
    """Names an item definition by its plan and its own code."""

    plan: Code
    item: Code

    def __str__(self) -> str:
        return f"{self.plan}/{self.item}"


class Dependency(_Element):
    """Order between two item definitions; belongs to `item`.

    `dependsOn`: `item` waits for `other`. `processedBefore`: `other` waits for `item`. Where the order has `item` but
    no `other` inside the scope, the dependency is void: it never blocks, and `explain` names it.
    """

    item: ItemRef
    other: ItemRef
    type: Literal["dependsOn", "processedBefore"] = "dependsOn"
    scope: Scope | None = None
    """None: the narrowest scope that both items share."""


class Scenario(_Element):
    """When a line of this product (or class) with one of these actions composes the plan."""

    plan: Code
    product: Code | None = None
    product_class: Code | None = Field(default=None, alias="class")
    actions: tuple[Action, ...] = Field(min_length=1)
    when: Cel = ""


class System(_Element):
    """A fulfilment system by code; where it is and how it is called is environment."""

    code: Code
    name: str = ""


class Queue(_Element):
    """A manual queue by code; who works in it is environment."""

    code: Code
    name: str = ""


class Release(_Element):
    """A whole release, as kept in a file."""

    format: Literal["orderplan.release/1"] = FORMAT
    code: Code
    version: str = Field(min_length=1, max_length=100)
    undeclared: Literal["keep", "seal", "drop"] = "keep"
    """What becomes of attributes that the product does not declare."""
    empty_plan: Literal["reject", "complete"] = Field(default="reject", alias="emptyPlan")
    open_order: Literal["wait", "refuse"] = Field(default="wait", alias="openOrder")
    """What becomes of a second order on a root asset that has an open one."""
    products: tuple[Product, ...]
    classes: tuple[ProductClass, ...] = ()
    decompositions: tuple[Decomposition, ...] = ()
    plans: tuple[Plan, ...] = ()
    dependencies: tuple[Dependency, ...] = ()
    scenarios: tuple[Scenario, ...] = ()
    retries: tuple[Retry, ...] = ()
    systems: tuple[System, ...] = ()
    queues: tuple[Queue, ...] = ()
    dedicated: Cel = ""
    """CEL over the order: true gives the order's plan a Ray actor of its own."""
