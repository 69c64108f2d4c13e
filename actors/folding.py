"""From stored facts to a plan: upcast, fetch the releases and templates they name, fold. Used by hosts and readers
alike.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final, Protocol

from domain.catalogue import Release
from domain.compose import Template
from domain.errors import IllegalTransition, NotFound, PlanUnreadable
from domain.evolve import evolve, plan_from_facts
from domain.facts import PLAN_CHANGED, PLAN_COMPOSED, Fact, upcast
from domain.lineup import Lineup
from domain.plan import Plan
from domain.publish import compile_release
from domain.release import CompiledRelease
from persistence.readstore import StoredFact

_DAMAGE: Final = (LookupError, ValueError, TypeError, AttributeError, AssertionError, NotFound)
"""What reading facts raises that are damaged or too new: never that the database is away."""


class StorePort(Protocol):
    """Where facts, templates and releases are read (persistence/readstore.py)."""

    async def facts_of(self, order_ids: Iterable[str]) -> dict[str, list[StoredFact]]: ...
    async def template(self, tenant: str, template_id: str) -> dict[str, Any] | None: ...
    async def release_body(self, tenant: str, release_id: str) -> dict[str, Any] | None: ...
    async def lineup(self, tenant: str, now: datetime) -> Lineup: ...


class PlanFolder:
    """Folds plans; keeps compiled releases and templates, which never change."""

    def __init__(self, store: StorePort) -> None:
        self._store = store
        self._compiling = asyncio.Lock()
        self._releases: dict[tuple[str, str], CompiledRelease] = {}
        self._lineups: dict[str, Lineup] = {}
        self._templates: dict[tuple[str, str], Template] = {}
        self.stored_templates: set[tuple[str, str]] = set()
        """Templates known to be in the database."""

    async def refresh_releases(self, tenant: str, now: datetime) -> str | None:
        """Learn which release new orders take at `now`, and which follow when; returns the id of the current one.

        Those to come are compiled, too: at their moment nobody has to wait for them.
        """
        lineup = await self._store.lineup(tenant, now)
        for release_id in lineup.release_ids():
            await self.release(tenant, release_id)
        self._lineups[tenant] = lineup
        return lineup.current

    async def release(self, tenant: str, release_id: str) -> CompiledRelease:
        """A release by id, compiled once, in a thread: a large one takes seconds, in which a loop has other work.

        Raises:
            NotFound: it is not published.
        """
        known = self._releases.get((tenant, release_id))
        if known is not None:
            return known
        # One at a time, whichever: threads share one interpreter, so more of them would only slow the loop down.
        async with self._compiling:
            known = self._releases.get((tenant, release_id))
            if known is None:
                found = await self._store.release_body(tenant, release_id)
                if found is None:
                    raise NotFound(f"there is no release {release_id!r}")
                known = await asyncio.to_thread(_compiled, found)
                self._releases[tenant, release_id] = known
            return known

    def loaded_release(self, tenant: str, release_id: str) -> CompiledRelease:
        """A release that was loaded before."""
        return self._releases[tenant, release_id]

    def known_release(self, tenant: str, release_id: str) -> CompiledRelease:
        """A release that was loaded before, if there is one of that name.

        Raises:
            NotFound: it was looked for and is not published.
        """
        known = self._releases.get((tenant, release_id))
        if known is None:
            raise NotFound(f"there is no release {release_id!r}", path="release", mend="name one of GET /v1/releases")
        return known

    def current_release(self, tenant: str, now: datetime) -> CompiledRelease | None:
        """The release that new orders take at `now`, by what was last learned; None: there is none."""
        release_id = self._lineups.get(tenant, Lineup()).at(now)
        return self._releases[tenant, release_id] if release_id is not None else None

    async def fold(self, stored: list[StoredFact]) -> Plan:
        """A plan from its stored facts, the first of which is its acceptance or rejection.

        Raises:
            PlanUnreadable: they make no plan.
        """
        try:
            return await self._fold(stored)
        except _DAMAGE as error:
            # Types only: what an error says of a value may quote it.
            reason = error.reason if isinstance(error, NotFound) else type(error).__name__
            raise PlanUnreadable(
                f"the facts of order {stored[0].order_id} make no plan: {reason}",
                mend="start a version of this program that knows them, or have them looked at: /v1/orders/{id}/facts",
            ) from error

    async def advance(self, plan: Plan, stored: StoredFact) -> None:
        """Apply the next fact of its order to a folded plan, in place.

        Raises:
            PlanUnreadable: it does not fit; the plan is of no use any more.
        """
        fact = Fact(stored.kind, stored.at, stored.item, None, stored.actor, stored.cause)
        try:
            payload = upcast(stored.kind, stored.v, stored.payload)
            if stored.kind == PLAN_COMPOSED:
                plan.release = await self.release(plan.order.tenant, payload["release"])
                plan.template = await self._template(plan.order.tenant, payload["template"], plan.release)
            elif stored.kind == PLAN_CHANGED:
                plan.release = await self.release(plan.order.tenant, payload["release"])
            evolve(plan, fact._replace(payload=payload))
        except (*_DAMAGE, IllegalTransition) as error:
            raise PlanUnreadable(
                f"a fact of order {stored.order_id} does not fit its plan: {type(error).__name__}",
                mend="have its facts looked at: /v1/orders/{id}/facts",
            ) from error

    async def _fold(self, stored: list[StoredFact]) -> Plan:
        facts = [
            Fact(each.kind, each.at, each.item, upcast(each.kind, each.v, each.payload), each.actor, each.cause)
            for each in stored
        ]
        first = facts[0].payload or {}
        tenant = first["order"]["tenant"]
        releases = {first["release"]: await self.release(tenant, first["release"])}
        templates: dict[str, Template] = {}
        for fact in facts:
            if fact.kind == PLAN_COMPOSED and fact.payload is not None:
                release = await self.release(tenant, fact.payload["release"])
                releases[release.release_id] = release
                name = fact.payload["template"]
                templates[name] = await self._template(tenant, name, release)
            elif fact.kind == PLAN_CHANGED and fact.payload is not None:
                release = await self.release(tenant, fact.payload["release"])
                releases[release.release_id] = release
        return plan_from_facts(facts, releases.__getitem__, templates.__getitem__)

    async def _template(self, tenant: str, template_id: str, release: CompiledRelease) -> Template:
        known = self._templates.get((tenant, template_id))
        if known is None:
            body = await self._store.template(tenant, template_id)
            if body is None:
                raise NotFound(f"there is no plan template {template_id!r}")
            known = Template.from_dict(body, release)
            self._templates[tenant, template_id] = known
            self.stored_templates.add((tenant, template_id))
        return known


def _compiled(body: dict[str, Any]) -> CompiledRelease:
    return compile_release(Release.model_validate(body))
