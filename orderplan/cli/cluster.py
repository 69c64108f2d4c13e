"""`orderplan cluster`: the processes of a running cluster."""

from __future__ import annotations

from typing import Annotated

import typer

from orderplan.cli.common import USER_DEFAULT, Json, Url, User, client_of, show
from orderplan.client import URL_DEFAULT

app = typer.Typer(help="The processes of a running cluster.", no_args_is_help=True)


@app.command("restart-hosts")
def restart_hosts(
    host: Annotated[str | None, typer.Option("--host", help="Only this one, as /v1/cluster names it.")] = None,
    timeout: Annotated[float, typer.Option("--timeout", min=1, help="Seconds to wait for the last one.")] = 600.0,
    url: Url = URL_DEFAULT,
    user: User = USER_DEFAULT,
    as_json: Json = False,
) -> None:
    """Replace plan hosts one after another, while orders go on, and wait until it is done."""
    with client_of(url, user) as client:
        hosts = client.restart_hosts(host)
        client.wait_for_restart(hosts, timeout_s=timeout)
    show(as_json, {"replaced": hosts}, lambda: [f"{len(hosts)} plan hosts were replaced: {', '.join(hosts)}"])
