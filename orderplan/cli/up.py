"""`orderplan up`: a whole server in one command, until it is told to stop."""

from __future__ import annotations

import importlib.util
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Annotated, Final

import typer

from orderplan.cli.common import Json, UserError, console, print_json

OWN_PACKAGES: Final = ("domain", "actors", "adapters", "persistence", "gateway", "delay")
ROOT_DATA: Final = Path("/var/lib/orderplan")


def default_data() -> Path:
    """Where data lives when nobody says: for root in the system's place, else in the user's own."""
    return ROOT_DATA if os.geteuid() == 0 else Path.home() / ".local" / "share" / "orderplan"


def up(
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Where to serve; 0 takes a free port.")] = 8080,
    database_url: Annotated[
        str | None,
        typer.Option("--database-url", envvar="ORDERPLAN_DATABASE_URL", help="PostgreSQL; without: an embedded one."),
    ] = None,
    key_database_url: Annotated[
        str | None,
        typer.Option("--key-database-url", envvar="ORDERPLAN_KEY_DATABASE_URL", help="Where order keys are kept."),
    ] = None,
    key_provider: Annotated[
        str,
        typer.Option(
            "--key-provider", envvar="ORDERPLAN_KEY_PROVIDER", help="Wraps the keys: file:PATH, env:NAME, module:Class."
        ),
    ] = "",
    address: Annotated[
        str | None, typer.Option("--address", help="Join a Ray cluster: auto, or HOST:6379. Without: a Ray of its own.")
    ] = None,
    plan_hosts: Annotated[int, typer.Option("--plan-hosts", min=1, max=1000, help="Processes that run plans.")] = 1,
    dedicated_plans: Annotated[
        int, typer.Option("--dedicated-plans", min=0, max=1000, help="Plans at once with a process of their own.")
    ] = 4,
    data: Annotated[Path | None, typer.Option("--data", help="Where data is kept.", show_default="see docs")] = None,
    delay_model: Annotated[
        str, typer.Option("--delay-model", help="A delay model of one's own, as module:Class. Without: the built-in.")
    ] = "",
    delay_actionable: Annotated[
        str,
        typer.Option(
            "--delay-actionable",
            help="What improvements may change: priority, expedite, queue:FROM=TO, system:FROM=TO (with commas).",
        ),
    ] = "priority,expedite",
    delay_scoring: Annotated[
        bool, typer.Option("--delay-scoring/--no-delay-scoring", help="Whether orders' risk to be late is predicted.")
    ] = True,
    hub_suspend_after: Annotated[
        float, typer.Option("--hub-suspend-after", min=0.01, help="Hours of failures that suspend a listener.")
    ] = 24.0,
    paused: Annotated[
        bool, typer.Option("--paused", help="Take orders, but make no call until the systems are released.")
    ] = False,
    accept_data_loss: Annotated[
        bool, typer.Option("--accept-data-loss", help="Start although a crash of PostgreSQL can lose orders.")
    ] = False,
    require_synchronous_standby: Annotated[
        bool, typer.Option("--require-synchronous-standby", help="Refuse a server whose loss would lose orders.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Start everything and serve until Ctrl-C or SIGTERM."""
    check_own_packages()
    from orderplan.cluster import Cluster, Options

    log_to_stderr()
    folder = (data or default_data()).expanduser()
    stop = threading.Event()
    # Until Ray is up, a signal simply ends the start; what has started is ended again.
    signal.signal(signal.SIGTERM, _interrupt)
    cluster = Cluster(
        Options(
            data=folder,
            port=port,
            plan_hosts=plan_hosts,
            dedicated_plans=dedicated_plans,
            database_url=database_url,
            key_database_url=key_database_url,
            key_provider=key_provider,
            address=address,
            delay_model=delay_model,
            delay_actionable=delay_actionable,
            delay_scoring=delay_scoring,
            hub_suspend_after_h=hub_suspend_after,
            is_paused=paused,
            accept_data_loss=accept_data_loss,
            require_synchronous_standby=require_synchronous_standby,
        )
    )
    try:
        url = cluster.start()
        # Only now: ray.init puts handlers of its own in their place.
        drain_on_signals(stop.set)
        if as_json:
            print_json({"url": url, "data": str(folder), "logs": str(cluster.logs), "pid": os.getpid()})
        else:
            screen = console()
            for line in announced(url, folder, cluster.logs, is_paused=paused):
                # Paths and addresses whole, whatever the width: they are copied.
                screen.print(line, soft_wrap=True)
        sys.stdout.flush()
        stop.wait()
        if not as_json:
            console().print("stopping: what is under way is finished first; a second signal ends it at once")
        is_finished = cluster.stop()
    except EndNow:
        console(stderr=True).print("ending at once: what was under way is done again after the next start")
        is_finished = False
    else:
        if not is_finished:
            console(stderr=True).print("not everything was finished in time: that is done again after the next start")
    finally:
        cluster.stop(is_hard=True)
    if not is_finished:
        raise typer.Exit(1)


def announced(url: str, data: Path, logs: Path | None, *, is_paused: bool) -> Iterator[str]:
    """What is said when the server is ready: where everything is."""
    yield f"orderplan is ready at {url}"
    for name, path in (("API", "/openapi.json"), ("ready", "/readyz"), ("metrics", "/metrics")):
        yield f"  {name:8} {url}{path}"
    yield f"  {'data':8} {data}"
    if logs is not None:
        yield f"  {'logs':8} {logs}/worker-*.err"
    if is_paused:
        yield "paused: orders are taken, no call leaves until: orderplan system release --all"
    yield "Ctrl-C stops it"


class EndNow(BaseException):
    """A second signal: no time to finish anything."""


def drain_on_signals(stop: Callable[[], None]) -> None:
    """Call `stop` on the first SIGINT or SIGTERM; the second raises `EndNow` in the main thread, more do nothing."""
    received = 0

    def heard() -> None:
        nonlocal received
        received += 1
        if received == 1:
            stop()
        elif received == 2:
            raise EndNow

    stop_on_signals(heard)


def stop_on_signals(stop: Callable[[], None]) -> None:
    """Call `stop` on every SIGINT and SIGTERM."""

    def handle(number: int, frame: FrameType | None) -> None:
        stop()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handle)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def check_own_packages() -> None:
    """Refuse to run when another package poses as one of ours.

    Raises:
        UserError: a module called `domain`, `actors`, ... comes from elsewhere.
    """
    home = Path(__file__).resolve().parents[2]
    for name in OWN_PACKAGES:
        spec = importlib.util.find_spec(name)
        origin = Path(spec.origin).resolve() if spec is not None and spec.origin else None
        if origin is None or origin.parent.parent != home:
            raise UserError(
                f"the package {name!r} is not orderplan's but {origin or 'missing'}",
                mend="take its folder off PYTHONPATH, or install orderplan into an environment of its own",
            )


def log_to_stderr() -> None:
    """Log lines of this process go to standard error: standard output is for what was asked."""
    import structlog

    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
