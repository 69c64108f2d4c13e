"""`orderplan bench`: what orderplan does on this machine, beside its floor and a peer."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

import orderplan
from orderplan.cli.common import UserError


def bench(
    parts: Annotated[str, typer.Option(help="Names with commas between; when empty the quick ones.")] = "",
    rounds: Annotated[int, typer.Option(min=1, max=99, help="Rounds; the figures are their medians.")] = 1,
    seconds: Annotated[float, typer.Option(min=3, max=3600, help="Length of each sustained load.")] = 60.0,
    connections: Annotated[int, typer.Option(min=1, max=2000, help="Connections of the closed loop.")] = 64,
    plan_hosts: Annotated[int, typer.Option(min=1, max=64, help="Plan hosts.")] = 2,
    waiting: Annotated[int, typer.Option(min=1, help="Plans that wait in `waiting` and `struck`.")] = 1_000_000,
    finished: Annotated[int, typer.Option(min=20_000, help="Orders that are over in `finished`.")] = 1_000_000,
    as_json: Annotated[bool, typer.Option("--json", help="The last line is one JSON object.")] = False,
    write: Annotated[Path | None, typer.Option(help="Folder for all rounds, the page and the picture.")] = None,
) -> None:
    """Measure orders a second, latencies and what they cost; everything durable."""
    checkout = Path(orderplan.__file__).parents[1]
    if not (checkout / "bench").is_dir():
        raise UserError("the bench is not part of the installed package", mend="run it in a checkout")
    # A program of its own: what measures is no part of the product.
    command = [sys.executable, "-m", "bench", "--parts", parts, "--rounds", str(rounds), "--seconds", str(seconds)]
    command += ["--connections", str(connections), "--plan-hosts", str(plan_hosts)]
    command += ["--waiting", str(waiting), "--finished", str(finished)]
    if write is not None:
        command += ["--write", str(write.resolve())]
    done = subprocess.run(command, cwd=checkout, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise UserError("the measurement did not come to its end", mend="see what it printed")
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    for name, part in figures.items():
        Console().print(_table(name, part))
    if as_json:
        typer.echo(json.dumps(figures))


def _table(name: str, part: dict[str, Any]) -> Table:
    table = Table(title=name)
    table.add_column("figure")
    table.add_column("value", justify="right")
    for figure, value in part.items():
        if isinstance(value, dict):
            for each, inner in value.items():
                table.add_row(f"{figure}: {each}", str(inner))
        else:
            table.add_row(figure, str(value))
    return table
