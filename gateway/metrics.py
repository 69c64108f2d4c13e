"""Prometheus metrics. Nothing is counted per item on the hot path: actors keep plain integers, read when scraped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_MODEL_FIGURES: Final = ("auc", "brier", "ece", "outcomes", "waiting", "labelLagS")
_MODEL_COUNTS: Final = ("asked", "unanswered", "refused", "errors")
_MODELS_MAX: Final = 50
"""Models that are counted at most; of those that score no more the oldest go."""
_BREAKER_VALUES: Final = {"closed": 0, "open": 1, "halfOpen": 2}


class Metrics:
    """The gateway's registry, with what the actors report laid over it at each scrape."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "orderplan_http_requests_total", "Requests by route and status", ["route", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "orderplan_http_request_seconds", "Time to answer, by route", ["route"], registry=self.registry
        )
        self.submitted = Counter(
            "orderplan_orders_submitted_total", "Orders answered, by state", ["state"], registry=self.registry
        )
        self.archived_orders = Counter(
            "orderplan_orders_archived_total", "Orders whose facts were moved to the archive", registry=self.registry
        )
        self.archived_facts = Counter(
            "orderplan_facts_archived_total", "Facts that were moved to the archive", registry=self.registry
        )
        self.orders = Gauge("orderplan_orders", "Orders by state", ["state"], registry=self.registry)
        self.actors = Gauge(
            "orderplan_actor", "What the actors count, by actor and name", ["actor", "name"], registry=self.registry
        )
        self.systems = Gauge(
            "orderplan_system",
            "What goes on at a system: calls running and waiting, breaker (0 closed, 1 open, 2 trying), held",
            ["tenant", "system", "name"],
            registry=self.registry,
        )
        self.weaknesses = Gauge(
            "orderplan_durability_weakness",
            "1 for each setting by which acknowledged orders could be lost",
            ["database", "code", "setting"],
            registry=self.registry,
        )
        self.risks = Gauge(
            "orderplan_orders_by_risk", "Open orders by band of risk to be late", ["band"], registry=self.registry
        )
        self.models = Gauge(
            "orderplan_delay_model",
            "How delay models do over the newest outcomes: auc, brier, ece, outcomes, waiting, labelLagS",
            ["model", "stage", "name"],
            registry=self.registry,
        )
        self.shift = Gauge(
            "orderplan_delay_shift",
            "Population stability index of a feature, or of the score, since the champion's training",
            ["feature"],
            registry=self.registry,
        )
        self.fallback_share = Gauge(
            "orderplan_delay_fallback_share",
            "Share of the scores that the built-in model gave in the place of this champion since it came to answer",
            ["model"],
            registry=self.registry,
        )
        self.model_counts = {
            "asked": self._model_counter("asked", "Snapshots that a delay model was to answer"),
            "unanswered": self._model_counter("unanswered", "Of those asked, those without a usable answer"),
            "refused": self._model_counter("refused", "Predictions of a delay model that cannot be"),
            "errors": self._model_counter("errors", "Time-outs, breaks and exceptions of a delay model"),
        }
        self.model_resting = Gauge(
            "orderplan_delay_model_resting",
            "1 while a delay model is left out after an error, or cannot be used here",
            ["model"],
            registry=self.registry,
        )
        self._models_at: dict[str, Mapping[str, Any]] = {}
        """What each delay model had done at the last scrape."""
        self.stuck = Gauge(
            "orderplan_plans_stuck", "Plans found standing still that are not well yet", registry=self.registry
        )
        self.redriven = Counter(
            "orderplan_plans_redriven_total", "Plans that stood still and were made to go on", registry=self.registry
        )
        self._redriven_by: dict[str, float] = {}

    def _model_counter(self, name: str, says: str) -> Counter:
        return Counter(f"orderplan_delay_model_{name}_total", says, ["model"], registry=self.registry)

    def render(self, orders: Mapping[str, int], stats: Mapping[str, Any]) -> bytes:
        """The exposition text."""
        self.orders.clear()
        for state, count in orders.items():
            self.orders.labels(state).set(count)
        self.risks.clear()
        for band in ("Low", "Medium", "High"):
            if (count := stats.get("predictor", {}).get(f"risk{band}")) is not None:
                self.risks.labels(band.lower()).set(count)
        self._render_models(stats.get("predictor", {}))
        self.stuck.set(sum(counters.get("plansStuck", 0) for counters in stats.values()))
        for actor, counters in stats.items():
            # By incarnation: a host that starts anew has another name and counts from 0.
            if (count := counters.get("plansRedriven")) is not None:
                self.redriven.inc(max(0, count - self._redriven_by.get(actor, 0)))
                self._redriven_by[actor] = count
        self.systems.clear()
        for each in stats.get("adapters", {}).get("systems", ()):
            values = {"running": each["running"], "waiting": each["waiting"], "held": int(each["held"])}
            values["breaker"] = _BREAKER_VALUES[each["breaker"]]
            for name, value in values.items():
                self.systems.labels(each["tenant"], each["code"], name).set(value)
        self.actors.clear()
        for actor, counters in stats.items():
            for name, value in counters.items():
                if isinstance(value, int | float):
                    self.actors.labels(actor, name).set(value)
        return generate_latest(self.registry)

    def _count_models(self, at_work: Sequence[Mapping[str, Any]]) -> None:
        self.model_resting.clear()
        for each in at_work[:_MODELS_MAX]:
            model = each["model"]
            before = self._models_at.pop(model, {})
            # A model that came to answer anew, and a predictor that was started anew, count from 0.
            was = before if before.get("since") == each["since"] else {}
            for name in _MODEL_COUNTS:
                self.model_counts[name].labels(model).inc(max(0, each[name] - was.get(name, 0)))
            self._models_at[model] = each
            self.model_resting.labels(model).set(int(each["restingUntil"] is not None or each["since"] is None))
        while len(self._models_at) > _MODELS_MAX:
            gone = next(iter(self._models_at))
            del self._models_at[gone]
            for counter in self.model_counts.values():
                counter.remove(gone)

    def _render_models(self, predictor: Mapping[str, Any]) -> None:
        self.models.clear()
        for each in predictor.get("models", ()):
            for name in _MODEL_FIGURES:
                if (value := each.get(name)) is not None:
                    self.models.labels(each["model"], each["stage"], name).set(value)
        self._count_models(predictor.get("atWork", ()))
        self.shift.clear()
        for feature, index in predictor.get("shift", {}).items():
            self.shift.labels(feature).set(index)
        self.fallback_share.clear()
        if (share := predictor.get("fallbackShare")) is not None:
            self.fallback_share.labels(predictor["champion"]).set(share)
