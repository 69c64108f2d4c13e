"""`orderplan demo`: everything on this machine, real orders to completion, and a comparison with what must come out."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from orderplan.cli.common import Json, UserError, console, print_json
from orderplan.cli.up import check_own_packages, log_to_stderr, stop_on_signals

CHECKOUT: Final = Path(__file__).resolve().parents[2]
DELAY_MS: Final = 20.0
SEED: Final = 20261123
COMPLETED_SHARE_MIN: Final = 0.95


def demo(
    stay: Annotated[bool, typer.Option("--stay", help="Keep everything up afterwards, until Ctrl-C.")] = False,
    orders: Annotated[int, typer.Option("--orders", min=20, max=20_000, help="Generated orders.")] = 300,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Where to serve; 0 takes a free port.")] = 0,
    plan_hosts: Annotated[int, typer.Option("--plan-hosts", min=1, max=64, help="Processes that run plans.")] = 2,
    change: Annotated[
        bool, typer.Option("--change", help="Instead: orders amended, held, cancelled and moved while they run.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Start everything, run real orders to completion, show what came of it."""
    check_own_packages()
    examples = find_examples()
    log_to_stderr()
    if change:
        _change_story(examples, port, plan_hosts, as_json)
        return
    from orderplan.cluster import Cluster, Options
    from orderplan.demo.listener import Listener
    from orderplan.demo.people import People
    from orderplan.demo.report import Progress, report
    from orderplan.demo.run import Demo, collect, differences
    from orderplan.demo.standins import StandIns
    from orderplan.demo.width import WORKERS

    # Until Ray is up, a signal simply ends the start; what has started is ended again.
    stop_on_signals(_end)
    started = time.monotonic()
    screen = console(stderr=as_json)
    with ExitStack() as stack:
        folder = stack.enter_context(_data_folder())
        screen.print("starting PostgreSQL, Ray, the gateway and the stand-ins ...")
        standins = stack.enter_context(StandIns(CHECKOUT, folder / "calls.ndjson", delay_ms=DELAY_MS, seed=SEED))
        cluster = Cluster(Options(data=folder, port=port, plan_hosts=plan_hosts))
        stack.callback(cluster.stop)
        url = cluster.start()
        # Again, for ray.init has put handlers of its own in their place.
        stop_on_signals(_end)
        start_s = time.monotonic() - started
        screen.print(f"orderplan is ready at {url}, the systems at {standins.url}")
        from orderplan.client import Client

        client = stack.enter_context(Client(url, user="demo"))
        people = stack.enter_context(People(url, WORKERS))
        with Progress(screen, url, standins, people) as progress:
            listener = stack.enter_context(Listener(progress.say))
            run = Demo(client, standins, people, listener, examples, progress.say)
            run.run(orders)
            found = collect(run)
        found = {"generated": orders, **found, "startS": round(start_s, 1)}
        found["wallS"] = round(time.monotonic() - started, 1)
        expected = expectation(examples, orders)
        told = None if expected is None else differences(found, expected)
        is_good = not told and found["orders"].get("completed", 0) >= COMPLETED_SHARE_MIN * sum(
            found["orders"].values()
        )
        for part in report(found, told):
            screen.print(part)
        if as_json:
            print_json({"ok": is_good, **found, "differences": told or [], "url": url if stay else None})
        sys.stdout.flush()
        if stay:
            _stay(screen, url, standins.url)
        screen.print("stopping ...")
    if not is_good:
        raise typer.Exit(1)


def _change_story(examples: Path, port: int, plan_hosts: int, as_json: bool) -> None:
    """A server of its own, and the story of orders that change under way."""
    from orderplan.client import Client
    from orderplan.cluster import Cluster, Options
    from orderplan.demo.change_story import ChangeStory

    stop_on_signals(_end)
    screen = console(stderr=as_json)
    with ExitStack() as stack:
        folder = stack.enter_context(_data_folder())
        screen.print("starting PostgreSQL, Ray and the gateway ...")
        cluster = Cluster(Options(data=folder, port=port, plan_hosts=plan_hosts))
        stack.callback(cluster.stop)
        url = cluster.start()
        stop_on_signals(_end)
        client = stack.enter_context(Client(url, user="demo"))
        story = ChangeStory(client, examples, screen.print)
        story.run()
        screen.print(f"\n{'as expected' if not story.wrong else 'not as expected: ' + '; '.join(story.wrong)}")
        if as_json:
            print_json({"ok": not story.wrong, "differences": story.wrong})
        sys.stdout.flush()
        screen.print("stopping ...")
    if story.wrong:
        raise typer.Exit(1)


def find_examples() -> Path:
    """The examples of this checkout.

    Raises:
        UserError: orderplan was installed without them.
    """
    examples = CHECKOUT / "examples"
    if not (examples / "standins").is_dir():
        raise UserError(
            "the demo needs the examples, which are not part of the installed package",
            mend="run it in a checkout of the project: make demo",
        )
    return examples


def expectation(examples: Path, orders: int) -> dict[str, Any] | None:
    """What so many orders must come to, if that is known."""
    try:
        expected: dict[str, Any] = json.loads((examples / "expected.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return expected if expected["generated"] == orders else None


@contextmanager
def _data_folder() -> Iterator[Path]:
    """A folder that is gone afterwards; the server's user, who is another one when root starts it, may pass through."""
    folder = Path(tempfile.mkdtemp(prefix="orderplan-demo-"))
    try:
        if os.geteuid() == 0:
            folder.chmod(0o711)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _end() -> None:
    raise KeyboardInterrupt


def _stay(screen: Any, url: str, systems: str) -> None:
    stop = threading.Event()
    stop_on_signals(stop.set)
    screen.print(f"\neverything stays up: export ORDERPLAN_URL={url}")
    screen.print("  orderplan order list; orderplan order plan ID; orderplan inventory list; orderplan task list")
    screen.print(f"  what the systems were asked: {systems}/_calls")
    screen.print("Ctrl-C stops it")
    stop.wait()
