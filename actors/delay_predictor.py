"""The delay predictor: reads every fact, scores open orders as they progress and as time goes by, writes the scores.

Nobody waits for it: it only reads what is committed and writes tables of its own. It holds no state that matters:
after a restart it starts at the heads of the shards with the orders that are open then.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import orjson
import structlog

from actors.batch import Batch
from actors.config import ClusterConfig
from actors.folding import PlanFolder
from actors.model_desk import MakeProcess, ModelDesk, process_of, tick_of
from actors.model_process import ModelProcess
from actors.plan_cache import PlanCache, PlanStore
from actors.process import prepare_process
from actors.schedule_desk import ScheduleDesk
from actors.scoring import PREDICT_TIMEOUT_S, Scorer
from actors.scoring_queue import COALESCE_S, OpenOrder, ScoringQueue
from actors.what_if import WhatIf
from delay.critical_path import CriticalPath
from delay.durations import Durations, ItemClock
from delay.model import ClosedOrder, Prediction
from delay.snapshot import AWAIT, IN_PROGRESS, Snapshot, priority_of, snapshot_of
from delay.what_if import Actionable, Change
from domain import facts as f
from domain.errors import Busy, NotPossibleNow, OrderplanError, PlanUnreadable
from domain.plan import Plan
from persistence import scores, ticks
from persistence.database import Pool, is_unavailable, open_pool
from persistence.feed import Feed, News
from persistence.readstore import ReadStore
from persistence.scores import ScoreRow

log = structlog.get_logger(__name__)

POLL_S: Final = 0.25
REST_FACTOR: Final = 2.0
"""After work it rests so many times as long: on a busy machine orders come first, and scores are a little older."""
FLOOD_REST_FACTOR: Final = 9.0
FLOOD_FACTS: Final = 1_000
"""A round with so many new facts: orders come by the hundred, and a tenth of a core is all that it may take of them."""
REST_MAX_S: Final = 5.0
"""However long a round was: it may have waited for the database, or for somebody's model."""
NICENESS: Final = 10
FACTS_PER_SHARD: Final = 200
BATCH_MAX: Final = 1_000
BATCH_ITEMS_MAX: Final = 50_000
HISTORY_MAX: Final = 500
"""Completed orders to learn from at the start."""
_READ_TOGETHER: Final = 50
POINT_MOVE: Final = 0.05
POINT_EVERY_S: Final = 60.0
"""A point of an order's history is kept when its risk has moved by so much, or after so long."""
NO_PLAN_S: Final = 3600.0
"""An order without a plan, or whose facts cannot be read, is looked at again when it has news, or after so long."""
HOUSEKEEPING_S: Final = 60.0
HISTORY_KEPT: Final = timedelta(days=30)
HISTORIES_DROPPED: Final = 1_000
TICKS_KEPT: Final = timedelta(days=90)
TICKS_DROPPED: Final = 20_000
BANDS: Final = (("riskLow", 0.2), ("riskMedium", 0.5), ("riskHigh", 2.0))
"""Names of the bands of risk, and below what each ends."""


def rest_after(took_s: float, facts: int, *, is_behind: bool) -> float:
    """Seconds of rest after a round that took so long and read so many facts.

    Args:
        took_s: wall time.
        facts: that were new.
        is_behind: there were more of them than a round takes: it rests less, or it would never catch up.
    """
    factor = FLOOD_REST_FACTOR if facts >= FLOOD_FACTS and not is_behind else REST_FACTOR
    return min(factor * took_s, REST_MAX_S)


class DelayPredictor:
    """The predictor; plain asyncio, wrapped by the Ray actor below. One task owns all of its state."""

    def __init__(
        self,
        pool: Pool,
        store: PlanStore,
        scorer: Scorer,
        durations: Durations,
        tenant: str,
        *,
        clock: Callable[[], datetime],
        monotonic: Callable[[], float] = time.monotonic,
        make_process: MakeProcess = process_of,
        timeout_s: float = PREDICT_TIMEOUT_S,
        actionable: Actionable = Actionable(),  # noqa: B008 - it is frozen
    ) -> None:
        self._pool = pool
        self._actionable = actionable
        self._builtin = scorer.builtin
        self.schedules = ScheduleDesk(scorer.builtin)
        self.desk = ModelDesk(
            pool,
            tenant,
            scorer,
            scorer.builtin,
            self._history,
            clock=clock,
            monotonic=monotonic,
            make_process=make_process,
            timeout_s=timeout_s,
        )
        self._feed = Feed(pool, tenant)
        self._scorer = scorer
        self._tenant = tenant
        self._clock = clock
        self._store = store
        self._folder = PlanFolder(store)
        self._plans = PlanCache(self._folder, store)
        self._queue = ScoringQueue()
        self._items = ItemClock(durations)
        self._durations = durations
        self._offsets: dict[int, int] = {}
        self._load: Counter[str] = Counter()
        self._ended: list[tuple[str, datetime]] = []
        """Orders whose end is not written to their scores yet."""
        self._housekept_at = float("-inf")
        self.is_started = False
        self.scored = 0
        self._is_behind = False
        self.facts = 0

    async def start(self) -> None:
        """Take up the orders that are open, and learn from those that were completed."""
        # The heads first: what happens between the two is in both, and harms in neither.
        self._offsets = await self._feed.heads()
        now = self._clock().timestamp()
        async for order_ids in scores.open_orders(self._pool, self._tenant):
            for order_id in order_ids:
                self._queue.track(order_id, now, has_row=True)
        await scores.end_missed_scores(self._pool, self._tenant)
        await ticks.drop_void_ticks(self._pool, self._tenant)
        await self._scorer.fit(await self._history())
        await self.desk.refresh()
        self.is_started = True

    async def _history(self) -> list[ClosedOrder]:
        newest = await scores.recently_completed(self._pool, self._tenant, HISTORY_MAX)
        history: list[ClosedOrder] = []
        for start in range(0, len(newest), _READ_TOGETHER):
            stored = await self._store.facts_of(newest[start : start + _READ_TOGETHER])
            for facts in stored.values():
                try:
                    plan = await self._folder.fold(facts)
                except PlanUnreadable:
                    continue
                if plan.ended_at is not None and (snapshot := snapshot_of(plan, plan.ended_at)) is not None:
                    history.append(ClosedOrder(snapshot, plan.ended_at))
        return sorted(history, key=lambda closed: closed.ended_at)

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            began = time.monotonic()
            is_busy = False
            taken = self.facts
            try:
                if not self.is_started:
                    await self.start()
                    began = time.monotonic()
                is_busy = await self.step()
            except Exception as error:
                # Nothing is lost: cursors and queue are as they were, and the next round takes them up.
                if is_unavailable(error):
                    log.warning("the database is away, no order is scored", error=type(error).__name__)
                else:
                    log.exception("a round of the delay predictor failed; the next one goes on")
            rest_s = rest_after(time.monotonic() - began, self.facts - taken, is_behind=self._is_behind)
            await asyncio.sleep(rest_s if is_busy else max(rest_s, POLL_S))

    async def step(self) -> bool:
        """One round: read what is new, score what is due. Returns whether more is waiting."""
        await self.desk.refresh()
        found = await self._feed.news_after(self._offsets, FACTS_PER_SHARD)
        await self._take(found)
        await self._score()
        await self._keep_house()
        most = Counter(fact.shard for fact in found).most_common(1)
        self._is_behind = bool(most and most[0][1] >= FACTS_PER_SHARD)
        return bool(self._queue.waiting or self._is_behind)

    async def _take(self, found: Sequence[News]) -> None:
        """Take over what is new. Most orders are over before they are scored: they cost this loop and no more."""
        now = self._clock().timestamp()
        offsets, orders, take_item = self._offsets, self._queue.orders, self._items.take
        for shard, offset, order_id, item, kind, at in found:
            offsets[shard] = offset
            known = orders.get(order_id)
            if item is not None:
                take_item(order_id, item, kind, at, known.priority if known is not None else None)
            elif kind == f.ORDER_ACCEPTED:
                self._queue.track(order_id, now, points_left=scores.POINTS_STEP)
                continue
            elif kind == f.ORDER_ENDED:
                # Whoever reads the plan just now may keep it as it was: it is old from here on.
                self._plans.note(order_id, offset)
                self._end(order_id, at)
                continue
            self._plans.note(order_id, offset)
            self._queue.changed(order_id, now)
        self.facts += len(found)
        # Orders stand here until it is written, however often the database goes away.
        if self._ended:
            await scores.end_scores(self._pool, self._tenant, self._ended)
            await ticks.join_ended(self._pool, self._tenant, [order_id for order_id, _ in self._ended])
            self._ended.clear()

    def _end(self, order_id: str, at: datetime) -> None:
        self._plans.drop(order_id)
        order = self._queue.forget(order_id)
        if order is not None:
            self._load.subtract(order.busy)
            if order.has_row:
                self._ended.append((order_id, at))

    async def _score(self) -> None:
        now = self._clock()
        chosen = self._queue.take(now.timestamp(), BATCH_MAX, BATCH_ITEMS_MAX)
        if not chosen:
            return
        waiting = {order.order_id: order for order in chosen}
        try:
            plans = await self._plans.get(list(waiting))
            snapshots: list[Snapshot] = []
            values: list[str] = []
            load = dict(self._load)
            for order in chosen:
                plan = plans.get(order.order_id)
                if plan is not None and plan.ended_at is not None:
                    # That it has ended was not heard of: its facts were archived first.
                    waiting.pop(order.order_id)
                    self._end(order.order_id, plan.ended_at)
                    continue
                snapshot = snapshot_of(plan, now, load) if plan is not None else None
                if snapshot is None:
                    self._queue.passed(waiting.pop(order.order_id), now.timestamp(), NO_PLAN_S)
                else:
                    snapshots.append(snapshot)
                    values.append(_value(plan))
            if snapshots:
                batch = Batch(snapshots, self._builtin)
                predictions = await self._scorer.predict(batch)
                scored = [waiting[each.order_id] for each in snapshots]
                await self._write(scored, snapshots, predictions, values)
                await self._keep_ticks(scored, batch, predictions)
                for each in snapshots:
                    order = waiting.pop(each.order_id)
                    self._queue.scored(order, now.timestamp(), each.due_at.timestamp())
                self.scored += len(snapshots)
        finally:
            for order in waiting.values():
                self._queue.passed(order, now.timestamp(), COALESCE_S)

    async def _write(
        self,
        orders: Sequence[OpenOrder],
        snapshots: Sequence[Snapshot],
        predictions: Sequence[Prediction],
        values: Sequence[str],
    ) -> None:
        rows = [_row(*each) for each in zip(snapshots, predictions, values, strict=True)]
        await scores.put_scores(self._pool, self._tenant, rows)
        points: list[ScoreRow] = []
        thin: list[str] = []
        for order, snapshot, row in zip(orders, snapshots, rows, strict=True):
            order.p_late = row.p_late
            order.priority = priority_of(snapshot)
            order.items = len(snapshot.items)
            busy = tuple(item.ref for item in snapshot.items if item.state in IN_PROGRESS)
            self._load.subtract(order.busy)
            self._load.update(busy)
            order.busy = busy
            at = row.scored_at.timestamp()
            if abs(row.p_late - order.point_p_late) >= POINT_MOVE or at - order.point_at >= POINT_EVERY_S:
                points.append(row)
                order.point_at, order.point_p_late = at, row.p_late
                order.points_left -= 1
                if order.points_left < 0:
                    order.points_left = scores.POINTS_STEP - 1
                    thin.append(row.order_id)
        if thin:
            await scores.thin_history(self._pool, self._tenant, thin)
        if points:
            await scores.add_points(self._pool, self._tenant, points)

    async def _keep_ticks(self, orders: Sequence[OpenOrder], batch: Batch, predictions: Sequence[Prediction]) -> None:
        places: list[int] = []
        passed: list[int] = []
        for at, (order, snapshot) in enumerate(zip(orders, batch.snapshots, strict=True)):
            tick = tick_of(snapshot)
            if tick is not None and tick > order.tick:
                places.append(at)
                passed.append(tick)
        await self.desk.keep(batch, predictions, places, passed)
        for at, tick in zip(places, passed, strict=True):
            orders[at].tick = tick

    async def _keep_house(self) -> None:
        now = self._clock()
        if now.timestamp() - self._housekept_at < HOUSEKEEPING_S:
            return
        self._housekept_at = now.timestamp()
        self._load = +self._load
        await scores.drop_old_histories(self._pool, self._tenant, now - HISTORY_KEPT, HISTORIES_DROPPED)
        await ticks.drop_old_ticks(self._pool, self._tenant, now - TICKS_KEPT, TICKS_DROPPED)
        await self.desk.look(now)

    async def what_if(self, order_id: str, changes: Sequence[Change]) -> dict[str, Any]:
        """What the model would say if this were done for the order; without changes, what of all that may be done
        would help (docs/DELAY.md).

        Raises:
            BadDocument: a change cannot be made.
            NotPossibleNow: the order has ended, or has no plan.
        """
        plan = (await self._plans.get([order_id])).get(order_id)
        now = self._clock()
        snapshot = snapshot_of(plan, now, dict(self._load)) if plan is not None and plan.ended_at is None else None
        if plan is None or snapshot is None:
            raise NotPossibleNow("the order has ended, or has no plan yet", mend="ask for an order that is open")
        return await WhatIf(self._scorer, self._builtin, self._actionable).answer(snapshot, plan.release, changes)

    async def schedule(self, order_id: str) -> dict[str, Any]:
        """When each item is expected to begin and end, what the end of the order waits for, and why it is late
        (docs/DELAY.md); of an order that has ended only which items it waited for, and why it was late.

        Raises:
            NotPossibleNow: the order has no plan.
        """
        plan = (await self._plans.get([order_id])).get(order_id)
        if plan is not None and (known := self.schedules.known(order_id, plan.facts)) is not None:
            return known
        snapshot = snapshot_of(plan, self._clock()) if plan is not None else None
        if snapshot is None:
            raise NotPossibleNow("the order has no plan yet", mend="ask again when it has one")
        return await self.schedules.answer(snapshot)

    def stats(self) -> dict[str, Any]:
        """Counters for metrics."""
        now = self._clock().timestamp()
        bands = {name: 0 for name, _ in BANDS}
        age_s = 0.0
        for order in self._queue.orders.values():
            if order.is_scored:
                bands[next(name for name, below in BANDS if order.p_late < below)] += 1
                age_s = max(age_s, now - order.scored_at)
        return {
            "open": len(self._queue.orders),
            "waiting": self._queue.waiting,
            "untracked": self._queue.untracked,
            "scored": self.scored,
            "scoreAgeMaxS": round(age_s, 3),
            "facts": self.facts,
            "cached": len(self._plans),
            "unreadable": self._plans.unreadable,
            "observed": self._durations.observed,
            "fallbacks": self._scorer.fallbacks,
            "modelErrors": self._scorer.model_errors,
            "refused": self._scorer.refused,
            "modelResting": int(self._scorer.is_resting),
            "champion": self._scorer.own_and_name[1] or None,
            "fallbackShare": self._scorer.fallback_share,
            **self.desk.stats(),
            **bands,
        }


def _value(plan: Plan | None) -> str:
    """What the order comes to, as JSON text."""
    priced = plan.order.priced() if plan is not None else None
    return orjson.dumps(priced.total()).decode() if priced is not None else "[]"


def _row(snapshot: Snapshot, prediction: Prediction, value: str) -> ScoreRow:
    def instant(after_s: float) -> datetime:
        return snapshot.now + timedelta(seconds=after_s)

    under_way = [item for item in snapshot.items if item.state in IN_PROGRESS]
    return ScoreRow(
        order_id=snapshot.order_id,
        scored_at=snapshot.now,
        p_late=prediction.p_late,
        expected_at=instant(prediction.remaining_s),
        low_at=instant(prediction.low_s),
        high_at=instant(prediction.high_s),
        due_at=snapshot.due_at,
        due_basis=snapshot.due_basis,
        model=prediction.model,
        version=prediction.version,
        factors=orjson.dumps([factor._asdict() for factor in prediction.factors]).decode(),
        plans=_known({item.ref.partition("/")[0] for item in snapshot.items if item.type != AWAIT}),
        steps=_known({item.ref for item in under_way}),
        systems=_known({item.system for item in under_way}),
        value=value,
        current_due_at=snapshot.current_due_at,
    )


def _known(names: set[str] | set[str | None]) -> tuple[str, ...]:
    return tuple(sorted(name for name in names if name is not None))


class DelayPredictorActor:
    """Ray's shell around the predictor."""

    def __init__(self, config: ClusterConfig) -> None:
        prepare_process(config.log_level)
        os.nice(NICENESS)
        self._config = config
        self._predictor: DelayPredictor | None = None
        # Ray starts a dead actor again by its constructor alone, so the work begins here.
        self._running = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        config = self._config
        while True:
            try:
                pool = await open_pool(config.dsn, size_max=3)
                break
            except Exception as error:
                if not is_unavailable(error):
                    log.exception("the delay predictor cannot open the database, ending")
                    os._exit(1)
                await asyncio.sleep(POLL_S)
        durations = Durations()
        scorer = Scorer(
            CriticalPath(durations),
            ModelProcess(config.delay_model) if config.delay_model else None,
            name=config.delay_model,
            monotonic=time.monotonic,
            timeout_s=config.delay_timeout_s,
        )
        self._predictor = DelayPredictor(
            pool,
            ReadStore(pool),
            scorer,
            durations,
            config.tenant,
            clock=lambda: datetime.now(UTC),
            timeout_s=config.delay_timeout_s,
            actionable=Actionable.read(config.delay_actionable),
        )
        await self._predictor.run()

    async def what_if(self, order_id: str, changes: list[Change]) -> Any:
        """See `DelayPredictor.what_if`; a refusal comes back as the error itself."""
        if self._predictor is None or not self._predictor.is_started:
            return Busy("the delay predictor starts", retryAfterS=1)
        try:
            return await self._predictor.what_if(order_id, changes)
        except OrderplanError as error:
            return error

    async def schedule(self, order_id: str) -> Any:
        """See `DelayPredictor.schedule`; a refusal comes back as the error itself."""
        if self._predictor is None or not self._predictor.is_started:
            return Busy("the delay predictor starts", retryAfterS=1)
        try:
            return await self._predictor.schedule(order_id)
        except OrderplanError as error:
            return error

    async def stats(self) -> dict[str, Any]:
        """Counters for metrics."""
        counters = self._predictor.stats() if self._predictor is not None else {}
        return counters | {"pid": os.getpid()}
