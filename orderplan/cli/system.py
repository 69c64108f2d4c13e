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

Code = Annotated[str | None, typer.Argument(help="The system's code.", show_default=False)]
All = Annotated[bool, typer.Option("--all", help="Every system, those that are not set up yet too.")]

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
    rate: Annotated[float | None, typer.Option("--rate", help="At most so many calls a second. Without: any.")] = None,
    breaker_failures: Annotated[
        int, typer.Option("--breaker-failures", min=0, help="So many failures in a row open its breaker; 0: none.")
    ] = 20,
    breaker_pause: Annotated[
        float, typer.Option("--breaker-pause", help="Seconds until an open breaker tries with one call.")
    ] = 10.0,
    drain: Annotated[float, typer.Option("--drain", help="Held items a second that go on after a release.")] = 200.0,
    server: Server = URL_DEFAULT,
    user: User = USER_DEFAULT,
    as_json: Json = False,
) -> None:
    """Say how a system is reached and how many calls it takes; it counts for the next call."""
    settings: dict[str, Any] = parse_object(config, "--config") if config is not None else {}
    if system_url is not None:
        if adapter != "http":
            raise UserError(
                "--url is the address of a system behind the http adapter",
                mend="name orderplan's own address with --server, and other adapters' settings with --config",
            )
        settings["url"] = system_url
    breaker = {"failures": breaker_failures, "pauseS": breaker_pause} if breaker_failures else None
    limits = {"ratePerS": rate, "breaker": breaker, "drainPerS": drain}
    with client_of(server, user) as client:
        answer = client.put_system(code, adapter, settings, concurrency, limits)
    at_most = f", {rate:g} a second" if rate is not None else ""
    show(as_json, answer, lambda: [f"system {code} is reached by {adapter}, {concurrency} calls at once{at_most}"])


@app.command("hold")
def hold_system(
    reason: Annotated[str, typer.Option("--reason", help="Why; kept in the audit trail.")],
    code: Code = None,
    everything: All = False,
    url: Url = URL_DEFAULT,
    user: User = USER_DEFAULT,
    as_json: Json = False,
) -> None:
    """Let a system take no calls: items for it rest On Hold, calls under way go on."""
    named = _named(code, everything)
    with client_of(url, user) as client:
        answer = client.hold_system(named, reason)
    whom = f"system {named} takes" if named else "all systems take"
    show(as_json, answer, lambda: [f"{whom} no calls until: orderplan system release {named or '--all'}"])


@app.command("release")
def release_system(
    code: Code = None,
    everything: All = False,
    reason: Annotated[str, typer.Option("--reason", help="Why; kept in the audit trail.")] = "",
    url: Url = URL_DEFAULT,
    user: User = USER_DEFAULT,
    as_json: Json = False,
) -> None:
    """Let a system take calls again, whatever holds it; what rests On Hold goes on at its rate."""
    named = _named(code, everything)
    with client_of(url, user) as client:
        answer = client.release_system(named, reason)
    if not answer["changed"]:
        told = f"nothing held {f'system {named}' if named else 'any system'}"
    else:
        told = f"{f'system {named} takes' if named else 'all systems take'} calls again; held items go on bit by bit"
    show(as_json, answer, lambda: [told])


def _named(code: str | None, everything: bool) -> str | None:
    """The system that is meant; None: all of them.

    Raises:
        UserError: neither or both are named.
    """
    if (code is None) is not everything:
        raise UserError("name one system, or --all", mend="orderplan system list shows them")
    return code


@app.command("list")
def list_systems(url: Url = URL_DEFAULT, user: User = USER_DEFAULT, as_json: Json = False) -> None:
    """List the systems."""
    with client_of(url, user) as client:
        systems = client.list_systems()
    rows = [
        (
            each["code"],
            each["adapter"],
            each["config"].get("url", ""),
            _limits(each),
            _state(each),
            str(each["heldItems"]) + ("+" if each["heldItemsAreMore"] else ""),
            moment(each["updatedAt"]),
        )
        for each in systems
    ]
    columns = ("system", "adapter", "url", "at once", "state", "held items", "changed (UTC)")
    show(as_json, {"systems": systems}, lambda: [table(columns, rows) if rows else "no systems yet"])


@app.command("changes")
def list_changes(
    code: Annotated[str, typer.Argument(help="The system's code.")],
    url: Url = URL_DEFAULT,
    user: User = USER_DEFAULT,
    as_json: Json = False,
) -> None:
    """Show who changed, held and released a system, newest first."""
    with client_of(url, user) as client:
        changes = client.system_changes(code)
    rows = [
        (moment(each["at"]), each["by"], each["kind"], *(each["change"].get(name, "") for name in ("cause", "reason")))
        for each in changes
    ]
    columns = ("at (UTC)", "by", "what", "cause", "reason")
    show(as_json, {"changes": changes}, lambda: [table(columns, rows) if rows else "no changes yet"])


def _limits(system: dict[str, Any]) -> str:
    rate = f", {system['ratePerS']:g}/s" if system["ratePerS"] is not None else ""
    return f"{system['concurrency']}{rate}"


def _state(system: dict[str, Any]) -> str:
    """Online or offline, and why."""
    why = [
        f"{each['cause']}{' by ' + each['by'] if each['by'] != 'system' else ''}: {each['reason']}"
        for each in system["holds"]
        if each["isHeld"] or each["cause"] == "breaker"
    ]
    return "; ".join([system["state"], *why]) if why else str(system["state"])
