"""The few Ray calls that the project makes, behind one door: names, handles, errors, options."""

from __future__ import annotations

from typing import Any, Final

import ray
from ray.exceptions import ActorUnavailableError, GetTimeoutError, RayActorError, RayError, RayTaskError

from actors.config import NAMESPACE
from actors.lines import DirectHandle, LineLost

CALLS_PENDING_MAX: Final = 10_000
"""Bound on calls waiting in one sender for one actor; beyond it Ray raises and the caller answers 503."""


def handle_of(name: str) -> Any | None:
    """The handle of a named actor, or None when nobody lives under that name."""
    try:
        return ray.get_actor(name, namespace=NAMESPACE)
    except ValueError:
        return None


def direct_handle_of(name: str) -> Any | None:
    """The same with direct lines (actors/lines.py), for who calls it by the hundred a second; needs a running loop."""
    handle = handle_of(name)
    return DirectHandle(handle, (RayError,)) if handle is not None else None


def is_dead(error: BaseException) -> bool:
    """Whether the error says that the actor's process has ended (not merely that it does not answer)."""
    return isinstance(error, RayActorError) and not isinstance(error, ActorUnavailableError)


def is_remote_failure(error: BaseException) -> bool:
    """Whether a call failed on the way, so that its outcome is unknown."""
    return isinstance(error, RayError | LineLost) and not isinstance(error, RayTaskError)


def start_actor(cls: type, name: str, *args: Any, restarts: int) -> Any:
    """Start a named, detached actor that needs no CPU slot; `restarts` -1 lets Ray start it again for ever.

    No concurrency groups: Ray gives each group of an async actor an event loop and thread of its own, and the state of
    our actors belongs to one loop. What groups are for (a flood of work must not keep a ping waiting) holds because
    every sender bounds its open calls far below `max_concurrency`.
    """
    options: dict[str, Any] = {
        "name": name,
        "namespace": NAMESPACE,
        "lifetime": "detached",
        "num_cpus": 0,
        "max_restarts": restarts,
        "max_task_retries": 0,
        "max_pending_calls": CALLS_PENDING_MAX,
        "max_concurrency": 1000,
    }
    as_actor: Any = ray.remote
    return as_actor(cls).options(**options).remote(*args)


def kill_actor(handle: Any) -> None:
    """End an actor's process for good."""
    ray.kill(handle, no_restart=True)


__all__ = [
    "GetTimeoutError",
    "RayError",
    "direct_handle_of",
    "handle_of",
    "is_dead",
    "is_remote_failure",
    "kill_actor",
    "start_actor",
]
