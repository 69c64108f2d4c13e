"""The `orderplan` command: groups of commands, each in a module of its own."""

from __future__ import annotations

from typing import Annotated

import typer

from orderplan.cli import (
    account,
    archive,
    bench,
    campaign,
    catalogue,
    cluster,
    demo,
    events,
    explain,
    fallout,
    hub,
    inventory,
    key,
    model,
    order,
    order_changes,
    order_lines,
    queue,
    release,
    risk,
    simulate,
    system,
    task,
    up,
    worker,
)
from orderplan.cli.common import Commands

app = typer.Typer(
    name="orderplan",
    cls=Commands,
    help="Order orchestration on Ray. `orderplan up` starts a server; the other commands talk to one.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
)
app.command("up")(up.up)
app.command("demo")(demo.demo)
app.command("bench")(bench.bench)
app.command("events")(events.events)
app.command("archive")(archive.archive)
app.command("simulate")(simulate.simulate)
app.add_typer(catalogue.app, name="catalogue")
app.add_typer(release.app, name="release")
app.add_typer(system.app, name="system")
app.add_typer(inventory.app, name="inventory")
app.add_typer(order.app, name="order")
app.add_typer(account.app, name="account")
app.add_typer(key.app, name="key")
order.app.command("ingest")(order_lines.ingest)
order.app.command("cutover")(order_lines.cutover)
order.app.command("explain")(explain.explain)
order.app.command("provenance")(explain.provenance)
for name, command in order_changes.COMMANDS.items():
    order.app.command(name)(command)
app.add_typer(task.app, name="task")
app.add_typer(queue.app, name="queue")
app.add_typer(worker.app, name="worker")
app.add_typer(risk.app, name="risk")
app.add_typer(model.app, name="model")
app.add_typer(hub.app, name="hub")
app.add_typer(fallout.app, name="fallout")
app.add_typer(fallout.jobs, name="job")
app.add_typer(campaign.app, name="campaign")
app.add_typer(cluster.app, name="cluster")


def _show_version(value: bool) -> None:
    if value:
        from importlib.metadata import version

        typer.echo(f"orderplan {version('orderplan')}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Take the options that belong to no command."""


if __name__ == "__main__":
    app()
