"""A release compiled for running: every lookup a dictionary, every expression parsed once (`domain/publish.py`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from domain.catalogue import Attribute, Item, ItemType, Product, Release, Scope
from domain.expressions import Expression
from domain.forms import Form

LINE_VARIABLES = frozenset({"attributes", "previous", "line", "order", "account", "place", "prices"})
"""What conditions and mappings may read: see docs/EXPRESSIONS.md."""
ANSWER_VARIABLES = LINE_VARIABLES | {"answer"}
ASSETIZE = "assetize"
BACK_PROPAGATE = "backPropagate"
STOCK_AUTO_TASKS = frozenset({ASSETIZE, BACK_PROPAGATE, "noop"})
"""What orderplan does itself, inside the plan's turn."""
TASKS_SYSTEM = "@tasks"
"""Where auto tasks of one's own are called, as if they were a system; no release can name it."""
DEFAULT_DELAYS_S = (30.0,)
DEFAULT_ATTEMPTS_MAX = 3
"""REFERENCE a3: a blank number of retries counts as three attempts."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """When a failed attempt is made again."""

    attempts_max: int = DEFAULT_ATTEMPTS_MAX
    delays_s: tuple[float, ...] = DEFAULT_DELAYS_S

    def delay_s(self, attempts_made: int) -> float | None:
        """Seconds until the next attempt after `attempts_made` attempts, or None when they are spent."""
        if attempts_made >= self.attempts_max:
            return None
        return self.delays_s[min(attempts_made - 1, len(self.delays_s) - 1)]


@dataclass(slots=True)
class ItemDef:
    """An item definition, compiled. `index` is its place in `CompiledRelease.items`."""

    index: int
    ref: str
    plan: str
    name: str
    type: ItemType
    scope: Scope
    scope_key: str | None
    source: Item
    condition: Expression | None
    process_after: Expression | None
    request: dict[str, Expression] | None
    response: dict[str, Expression] | None
    event: Expression | None
    retry: RetryPolicy
    sub_items: tuple[int, ...] = ()
    """Of a sub-plan: the items that it stands for."""
    rollback_refs: tuple[str, ...] = ()
    """The items of its rollback plan."""
    amend_refs: tuple[str, ...] = ()
    """The items of its amend plan."""
    form: Form | None = None
    """Of a manual task."""
    waits_for: list[Edge] = field(default_factory=list)
    """Edges in which this item is the one that waits."""
    precedes: list[Edge] = field(default_factory=list)
    """Edges that this item owns but in which the other one waits (`processedBefore`)."""
    waits_for_related: list[str] = field(default_factory=list)
    """Refs of items that it waits for in related orders, which may run by another release."""

    # What follows from these, asked for with every fact of an item.
    is_call: bool = field(init=False)
    """Whether somebody outside the plan is called for it: a system, or a function of one's own."""
    system: str = field(init=False)
    """Who is called."""
    operation: str = field(init=False)
    """What for."""
    timeout: timedelta = field(init=False)
    """How long its call may take."""
    on_amend: str = field(init=False)
    """`redo`, `undoThenRedo`, `amendPlan` or `nothing`."""

    def __post_init__(self) -> None:
        is_task = self.type is ItemType.AUTO_TASK
        self.is_call = self.source.task not in STOCK_AUTO_TASKS if is_task else self.type is ItemType.CALLOUT
        self.system = TASKS_SYSTEM if is_task else self.source.system or ""
        self.operation = self.source.task or "" if is_task else self.source.operation
        self.timeout = timedelta(seconds=self.source.timeout_s)
        # Assetize too: it delivers what is not delivered yet.
        is_auto = self.source.task in (BACK_PROPAGATE, ASSETIZE)
        is_work = self.is_call or self.type is ItemType.MANUAL_TASK or is_auto
        self.on_amend = self.source.on_amend or ("redo" if is_work else "nothing")
        if self.source.amend_plan is not None:
            self.on_amend = "amendPlan"


@dataclass(frozen=True, slots=True)
class Edge:
    """`waiter` waits for `target` (indices of item definitions); `owner` is the one that the definition belongs to."""

    waiter: int
    target: int
    owner: int
    scope: Scope | None


@dataclass(frozen=True, slots=True)
class CompiledMapping:
    """A mapping with its expression parsed; `source` is the attribute that it reads, or the function that it calls."""

    to: str
    kind: str
    source: str | None = None
    value: Any = None
    table: Mapping[str, Any] = field(default_factory=dict)
    expression: Expression | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """A decomposition rule, compiled."""

    name: str
    source: str
    target: str
    priority: int
    when: Expression | None
    mappings: tuple[CompiledMapping, ...]


@dataclass(frozen=True, slots=True)
class ScenarioDef:
    """A plan definition that composes when a line with one of `actions` meets `when`."""

    index: int
    plan: str
    actions: frozenset[str]
    when: Expression | None
    items: tuple[int, ...]
    sub_actions: frozenset[str] = frozenset()


@dataclass(slots=True)
class ProductDef:
    """A product with everything that hangs on it."""

    source: Product
    code: str
    attributes: dict[str, Attribute]
    rules: tuple[Rule, ...] = ()
    scenarios: dict[str, tuple[ScenarioDef, ...]] = field(default_factory=dict)
    rank: int = 0
    """Place in the order of decomposition: sources before targets."""

    def is_significant(self, name: str) -> bool:
        """Whether another value of this attribute drives a modify; undeclared attributes do."""
        declared = self.attributes.get(name)
        return declared is None or declared.significant

    def is_assetizable(self, name: str) -> bool:
        """Whether the attribute may be kept after the order; undeclared ones follow the release."""
        declared = self.attributes.get(name)
        return declared is None or declared.assetizable


@dataclass(slots=True)
class CompiledRelease:
    """A published release, ready to run."""

    release_id: str
    source: Release
    products: dict[str, ProductDef]
    by_specification: dict[str, str]
    by_offering: dict[str, str]
    items: list[ItemDef]
    findings: list[str]
    dedicated: Expression | None
    key_names: tuple[str, ...] = ()
    """Attributes whose values name instances of items."""
    templates: dict[Any, Any] = field(default_factory=dict)
    """Composed plan templates by the shape of the order (domain/compose.py)."""


def release_id_of(release: Release) -> str:
    """`code@version`: how facts and orders name a release."""
    return f"{release.code}@{release.version}"


