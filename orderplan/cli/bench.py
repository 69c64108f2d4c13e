"""`orderplan bench`: throughput and latency of the scenario `ten` on this machine."""

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
    orders: Annotated[int, typer.Option(min=1, max=1_000_000, help="Orders of the closed loop.")] = 5000,
    connections: Annotated[int, typer.Option(min=1, max=2000, help="Connections of the closed loop.")] = 128,
    plan_hosts: Annotated[int, typer.Option(min=1, max=64, help="Plan hosts.")] = 1,
    seconds: Annotated[float, typer.Option(min=1, max=600, help="Length of the open loop at 10 orders/s.")] = 15.0,
    as_json: Annotated[bool, typer.Option("--json", help="The last line is one JSON object.")] = False,
    out: Annotated[Path | None, typer.Option(help="Write the figures to this file too.")] = None,
) -> None:
    """Measure orders a second and latency of the scenario `ten`: ten calls an order, everything durable."""
    checkout = Path(orderplan.__file__).parents[1]
    if not (checkout / "bench").is_dir():
        raise UserError("the bench is not part of the installed package", mend="run it in a checkout")
    # A program of its own: what measures is no part of the product.
    command = [sys.executable, "-m", "bench", "--orders", str(orders), "--connections", str(connections)]
    command += ["--plan-hosts", str(plan_hosts), "--seconds", str(seconds)]
    done = subprocess.run(command, cwd=checkout, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise UserError("the measurement did not come to its end", mend="see what it printed")
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    table = Table(title="ten: ten items an order, six deep")
    table.add_column("figure")
    table.add_column("value", justify="right")
    for name, value in figures.items():
        if not isinstance(value, dict):
            table.add_row(name, str(value))
    for name, value in figures["cpu_ms_per_order"].items():
        table.add_row(f"CPU ms an order: {name}", str(value))
    Console().print(table)
    text = json.dumps(figures)
    if out is not None:
        out.write_text(text + "\n")
    if as_json:
        typer.echo(text)
