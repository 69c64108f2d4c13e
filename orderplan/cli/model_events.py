"""`orderplan model events`: closed orders as an event log for process mining."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from orderplan.cli.common import USER_DEFAULT, Json, Url, User, UserError, client_of, show
from orderplan.client import URL_DEFAULT


def events(
    out: Annotated[Path, typer.Option("--out", help="The file: .csv, .parquet, or .json for OCEL 2.0.")],
    history: Annotated[
        Path | None, typer.Option("--history", help="The folder of a history; without it the server's orders are used.")
    ] = None,
    since: Annotated[
        str | None, typer.Option("--since", help="Only orders that came then or later (RFC 3339).")
    ] = None,
    with_open: Annotated[bool, typer.Option("--with-open", help="Also orders that have not ended.")] = False,
    url: Url = URL_DEFAULT,
    user: User = USER_DEFAULT,
    as_json: Json = False,
) -> None:
    """Write closed orders as an event log, for process mining."""
    from delay.histories.event_logs import PARQUET, WRITERS, events_of
    from orderplan.cli.model_history import history_of

    writer = WRITERS.get(out.suffix)
    if writer is None:
        raise UserError(f"{out.name} is of no known form", path="--out", mend=f"end it in {', '.join(WRITERS)}")
    if out.suffix == PARQUET and find_spec("pyarrow") is None:
        mend = "pip install 'orderplan[parquet]', or end the name in .csv"
        raise UserError("Parquet needs pyarrow, which is not installed", path="--out", mend=mend)
    with client_of(url, user) as client, history_of(history, client, since) as found:
        simulated = bool(found.manifest["simulated"])
        try:
            count = writer(events_of(found, simulated=simulated, is_closed_only=not with_open), out)
        except OSError as error:
            mend = "make room, or name another file"
            raise UserError(f"{out} cannot be written: {error.strerror}", path="--out", mend=mend) from error
    document = {"file": str(out), "events": count, "simulated": simulated}
    show(as_json, document, lambda: [f"{count:,} events are in {out}" + (" (SIMULATED)" if simulated else "")])
