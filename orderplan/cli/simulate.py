"""`orderplan simulate`: histories of orders that never were, to try delay models on."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import RenderableType

from orderplan.cli.common import Json, UserError, pairs, show
from orderplan.cli.demo import CHECKOUT

CATALOGUES: Final = "own-mobile,home-internet,dedicated-internet"
PROGRESS_S: Final = 5.0


def simulate(
    out: Annotated[Path, typer.Option("--out", help="The folder for the history.")],
    orders: Annotated[int, typer.Option("--orders", help="So many orders come.")] = 20_000,
    days: Annotated[int, typer.Option("--days", help="In so many days.")] = 120,
    seed: Annotated[int, typer.Option("--seed", help="The same seed gives the same bytes.")] = 1,
    catalogues: Annotated[
        str, typer.Option("--catalogues", help="Example catalogues, with commas between.")
    ] = CATALOGUES,
    slow: Annotated[
        list[str] | None,
        typer.Option("--slow", help="CODE:FROM-UNTIL:FACTOR, a queue or system that is slower on those days."),
    ] = None,
    drift: Annotated[
        list[str] | None,
        typer.Option("--drift", help="CODE:FROM:FACTOR, a queue, system or PLAN/ITEM that is slower from a day on."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the history that is in the folder.")] = False,
    as_json: Json = False,
) -> None:
    """Simulate a history of orders on the example catalogues, for trying out delay models. Needs no server."""
    from delay.histories import Drift, Settings, Simulation, Slowdown
    from delay.histories.files import MANIFEST, HistoryWriter
    from delay.histories.settings import DAYS_MAX, ORDERS_MAX
    from orderplan.demo.samples import WORK_S, samples

    _check("--orders", orders, ORDERS_MAX)
    _check("--days", days, DAYS_MAX)
    _check_folder(out, MANIFEST, is_replaced=force)
    names = tuple(name.strip() for name in catalogues.split(","))
    if unknown := sorted(set(names) - set(CATALOGUES.split(","))):
        raise UserError(
            f"there is no example catalogue {unknown[0]!r} to simulate",
            path="--catalogues",
            mend=f"name some of {CATALOGUES}",
        )
    kinds = samples(_examples(), names)
    known = {item.ref for kind in kinds for item in kind.release.items}
    known |= {system.code for kind in kinds for system in kind.release.source.systems}
    known |= {queue.code for kind in kinds for queue in kind.release.source.queues}
    settings = Settings(
        orders=orders,
        days=days,
        seed=seed,
        work_s=WORK_S,
        slowdowns=tuple(Slowdown(*_slow(each, known)) for each in slow or ()),
        drifts=tuple(Drift(*_drift(each, known)) for each in drift or ()),
    )
    simulation = Simulation(settings, kinds)
    try:
        with HistoryWriter(out, simulation) as writer:
            told_at = time.monotonic()
            for happening in simulation.run():
                writer.add(happening)
                if time.monotonic() - told_at > PROGRESS_S:
                    told_at = time.monotonic()
                    _tell_progress((simulation.now - settings.start).days, days, writer.counts)
            manifest = writer.finish(names)
    except OSError as error:
        mend = "make room, or name another folder"
        raise UserError(f"{out} cannot be written: {error.strerror}", path="--out", mend=mend) from error
    show(as_json, manifest, lambda: _shown(out, manifest))


def _examples() -> Path:
    """The example catalogues of this checkout.

    Raises:
        UserError: orderplan was installed without them.
    """
    examples = CHECKOUT / "examples"
    if not examples.is_dir():
        raise UserError(
            "histories are made of the example catalogues, which are not part of the installed package",
            mend="run it in a checkout of the project",
        )
    return examples


def _tell_progress(day: int, days: int, counts: dict[str, int]) -> None:
    typer.echo(f"day {day} of {days}: {counts['orders']:,} orders, {counts['facts']:,} facts", err=True)


def _check(option: str, value: int, most: int) -> None:
    if not 0 < value <= most:
        raise UserError(f"{value} is out of range", path=option, mend=f"give a number from 1 to {most:,}")


def _check_folder(out: Path, manifest: str, *, is_replaced: bool) -> None:
    """Make the folder, and refuse one whose files would be lost.

    Raises:
        UserError: it cannot be made, or holds something.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        mend = "name a folder that you may write"
        raise UserError(f"{out} cannot be made: {error.strerror}", path="--out", mend=mend) from error
    if not any(out.iterdir()):
        return
    if not _is_history(out / manifest):
        raise UserError(f"{out} holds other files", path="--out", mend="name an empty or new folder")
    if not is_replaced:
        raise UserError(f"{out} holds a history", path="--out", mend="name another folder, or say --force")


def _is_history(manifest: Path) -> bool:
    try:
        return json.loads(manifest.read_text(encoding="utf-8")).get("simulated") is True
    except (OSError, ValueError, AttributeError):
        return False


def _slow(text: str, known: set[str]) -> tuple[str, float, float, float]:
    try:
        of, spell, factor = text.split(":")
        first, _, last = spell.partition("-")
        numbers = float(first), float(last), float(factor)
    except ValueError:
        mend = "write it as CODE:FROM-UNTIL:FACTOR, such as field-survey:60-75:2"
        raise UserError(f"{text!r} cannot be read", path="--slow", mend=mend) from None
    _check_name("--slow", of, known)
    _check_factor("--slow", numbers[2])
    return of, *numbers


def _drift(text: str, known: set[str]) -> tuple[str, float, float]:
    try:
        of, first, factor = text.split(":")
        numbers = float(first), float(factor)
    except ValueError:
        mend = "write it as CODE:FROM:FACTOR, such as activation:80:1.5"
        raise UserError(f"{text!r} cannot be read", path="--drift", mend=mend) from None
    _check_name("--drift", of, known)
    _check_factor("--drift", numbers[1])
    return of, *numbers


def _check_name(option: str, of: str, known: set[str]) -> None:
    if of not in known:
        raise UserError(
            f"the catalogues have no queue, system or item {of!r}",
            path=option,
            mend=f"name one of {', '.join(sorted(known))}",
        )


def _check_factor(option: str, factor: float) -> None:
    if not 0.01 <= factor <= 100:
        raise UserError(f"a factor of {factor:g} is out of range", path=option, mend="give one from 0.01 to 100")


def _shown(out: Path, manifest: dict[str, Any]) -> Iterable[RenderableType]:
    counts = manifest["counts"]
    late = f"{manifest['lateShare']:.1%} of those that have ended" if manifest["lateShare"] is not None else ""
    yield pairs(
        (
            ("simulated", f"{counts['orders']:,} orders, {manifest['from'][:10]} to {manifest['until'][:10]}"),
            ("still open", f"{counts['open']:,}"),
            ("late", late),
            ("facts", f"{counts['facts']:,}"),
            ("events", f"{counts['events']:,}"),
            ("folder", out),
        )
    )
