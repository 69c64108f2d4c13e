"""`orderplan system`: how the environment reaches its fulfilment systems.

Everywhere else `--url` is orderplan's own address; in `system set` it is the system's, and `--server` is orderplan's.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from orderplan.cli.common import USER_DEFAULT, Json, Url, User, UserError, client_of, moment, show, table
from orderplan.cli.files import parse_object
from orderplan.client import URL_DEFAULT

Server = Annotated[str, typer.Option("--server", envvar="ORDERPLAN_URL", help="Where orderplan serves.")]

app = typer.Typer(help="Connect fulfilment systems.", no_args_is_help=True)


@app.command("set")
def set_system(
    code: Annotated[str, typer.Argument(help="The system's code, as the release names it.")],
    adapter: Annotated[str, typer.Option("--adapter", help="http, simulated, a plug-in's name, or module:Class.")],
    system_url: Annotated[
        str | None, typer.Option("--url", help="With the http adapter: where the system is. (orderplan: --server.)")
    ] = None,
    config: Annotated[
        str | None, typer.Option("--config", help="The adapter's configuration, a JSON object or @FILE.")
    ] = None,
    concurrency: Annotated[
        int, typer.Option("--concurrency", min=1, max=10_000, help="At most so many calls at once.")
    ] = 50,
    server: Server = URL_DEFAULT,
    user: User = USER_DEFAULT,
    as_json: Json = False,
) -> None:
    """Say how a system is reached; it counts for the next call."""
    settings: dict[str, Any] = parse_object(config, "--config") if config is not None else {}
    if system_url is not None:
        if adapter != "http":
            raise UserError(
                "--url is the address of a system behind the http adapter",
                mend="name orderplan's own address with --server, and other adapters' settings with --config",
            )
        settings["url"] = system_url
    with client_of(server, user) as client:
        answer = client.put_system(code, adapter, settings, concurrency)
    show(as_json, answer, lambda: [f"system {code} is reached by {adapter}, {concurrency} calls at once"])


@app.command("list")
def list_systems(url: Url = URL_DEFAULT, user: User = USER_DEFAULT, as_json: Json = False) -> None:
    """List the systems."""
    with client_of(url, user) as client:
        systems = client.list_systems()
    rows = [
        (each["code"], each["adapter"], each["config"].get("url", ""), each["concurrency"], moment(each["updatedAt"]))
        for each in systems
    ]
    columns = ("system", "adapter", "url", "at once", "changed (UTC)")
    show(as_json, {"systems": systems}, lambda: [table(columns, rows) if rows else "no systems yet"])
