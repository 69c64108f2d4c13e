"""`orderplan model`: delay models from training to promotion. Training runs here, not in the server."""

from __future__ import annotations

import base64
import csv
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.console import RenderableType
from rich.markup import escape

from orderplan.cli.common import USER_DEFAULT, Json, Url, User, UserError, client_of, moment, pairs, show, table
from orderplan.cli.model_events import events
from orderplan.client import URL_DEFAULT, Document

if TYPE_CHECKING:
    from delay.stock.artefact import Artefact
    from delay.training import TrainingSet

app = typer.Typer(help="Train, try, promote and watch delay models.", no_args_is_help=True)

app.command("events")(events)

HistoryFolder = Annotated[
    Path | None, typer.Option("--history", help="The folder of a history; without it the server's orders are used.")
]
Since = Annotated[str | None, typer.Option("--since", help="Only orders that came then or later (RFC 3339).")]
Seed = Annotated[int, typer.Option("--seed", help="The same seed and history give the same bytes.")]
EventShare = Annotated[
    float, typer.Option("--event-share", min=0.0, max=1.0, help="Share of the events that are learnt from.")
]
Pictures = Annotated[
    Path | None, typer.Option("--pictures", help="A folder for pictures (SVG): reliability, earliness, worklist.")
]
Reason = Annotated[str, typer.Option("--reason", help="Why, for the history of the models.")]
Name = Annotated[str, typer.Argument(help="The model's name in the registry.")]

EVENT_SHARE: Final = 0.25
FILES: Final[Mapping[str, str]] = {
    ".txt": "trees",
    ".lgb": "trees",
    ".onnx": "onnx",
    ".skops": "skops",
    ".pkl": "pickle",
    ".pickle": "pickle",
    ".joblib": "pickle",
}
"""What a file's ending says of the form of the model in it."""
KEPT: Final = ("auc", "brier", "brierSkill", "ece")
"""The figures of a backtest that a model's signature keeps."""
LABELS: Final[Mapping[str, str]] = {
    "is_late": "1: the order ended after its first promise, or was still open beyond it; 0: it ended in time",
    "remaining_s": "seconds from `at` until the order ended; inf if it was still open",
    "order_id": "the order; rows of one order belong together",
    "at": "the moment of the row, in seconds since 1970-01-01 UTC: features hold what was known then",
    "tick": "0.25, 0.5, 0.75 or 0.9: so much of the time until the promise was over; 0: the row is of an event",
    "simulated": "1: the order never was",
}
"""The columns of `model rows` that are no features: no model may be given them, only taught to say one."""


@app.command()
def export(
    out: Annotated[Path, typer.Option("--out", help="A new folder.")],
    since: Since = None,
    orders: Annotated[int, typer.Option("--orders", min=1, max=100_000, help="At most about so many.")] = 100_000,
    url: Url = URL_DEFAULT,
    user: User = USER_DEFAULT,
    as_json: Json = False,
) -> None:
    """Write the server's orders with all their facts into a folder, to train models from."""
    from orderplan.cli.model_history import export as exported

    with client_of(url, user) as client:
        manifest = exported(client, out, since, orders)
    counts = manifest["counts"]
    show(as_json, manifest, lambda: [f"{counts['orders']:,} orders with {counts['facts']:,} facts are in {out}"])


@app.command()
def train(
    out: Annotated[Path, typer.Option("--out", help="The file for the model.")],
    history: HistoryFolder = None,
    since: Since = None,
    seed: Seed = 1,
    event_share: EventShare = EVENT_SHARE,
    form: Annotated[
        str | None, typer.Option("--form", help="planned, empirical, logistic or trees: no choice is made.")
    ] = None,
    url: Url = URL_DEFAULT,
    user: User = USER_DEFAULT,
    as_json: Json = False,
) -> None:
    """Train the default model from the server's orders or from a history: the simplest form that none beats."""
    from delay.stock.forms import FORMS
    from delay.stock.learn import train as trained
    from orderplan.cli.model_history import history_of, source_of

    if form is not None and form not in FORMS:
        raise UserError(f"there is no form {form!r}", path="--form", mend=f"name one of {', '.join(FORMS)}")
    with client_of(url, user) as client, history_of(history, client, since) as found:
        made = trained(
            found,
            simulated=bool(found.manifest["simulated"]),
            source=source_of(found),
            seed=seed,
            event_share=event_share,
            forms=(form,) if form is not None else tuple(FORMS),
        )
    _write(out, made.artefact.text)
    signature = made.artefact.signature
    metrics = {name: value for name, value in signature["metrics"].items() if name != "reliability"}
    document = {
        "form": made.artefact.form,
        "digest": made.artefact.digest,
        "file": str(out),
        "simulated": signature["simulated"],
        "metrics": metrics,
        "candidates": signature["candidates"],
        "steps": list(made.steps),
    }
    show(as_json, document, lambda: _trained(document, signature))


def _trained(document: Document, signature: Mapping[str, Any]) -> Iterable[RenderableType]:
    yield pairs(
        [
            ("chosen", document["form"]),
            ("from", signature["source"] + (" (SIMULATED)" if document["simulated"] else "")),
            ("orders", ", ".join(f"{count:,} {what}" for what, count in signature["orders"].items())),
            ("file", document["file"]),
            ("digest", document["digest"]),
        ]
    )
    columns = ("form", "AUC", "Brier", "skill", "ECE")
    rows = [(name, *_figures(each)) for name, each in document["candidates"].items()]
    yield table(columns, rows, title="judged on orders that none of them had seen")
    yield from document["steps"]


def _figures(found: Mapping[str, Any]) -> tuple[str, ...]:
    digits = (("auc", 3), ("brier", 4), ("brierSkill", 3), ("ece", 3))
    return tuple(f"{found[name]:.{some}f}" if found.get(name) is not None else "-" for name, some in digits)


@app.command()
def backtest(
    model: Annotated[
        str | None, typer.Argument(help="A model's file, or package.module:Class; without it the stock forms only.")
    ] = None,
    history: HistoryFolder = None,
    since: Since = None,
    seed: Seed = 1,
    event_share: EventShare = EVENT_SHARE,
    schema: Annotated[Path | None, typer.Option("--schema", help="schema.json of `orderplan model rows`.")] = None,
    is_estimator: Annotated[
        bool, typer.Option("--estimator", help="The address is a fitted estimator with predict_proba.")
    ] = False,
    must_beat: Annotated[
        str | None, typer.Option("--must-beat", help="End with exit code 2 unless it is better than this form.")
    ] = None,
    markdown: Annotated[Path | None, typer.Option("--markdown", help="Write the report there, too.")] = None,
    pictures: Pictures = None,
    url: Url = URL_DEFAULT,
    user: User = USER_DEFAULT,
    as_json: Json = False,
) -> None:
    """Hold a model against the stock forms on orders that came after all that those had learnt from."""
    from delay.stock.trial import as_markdown, trial
    from orderplan.cli.model_history import history_of, source_of
    from orderplan.cli.model_report import pictured

    artefact = _artefact(model, schema, is_estimator=is_estimator) if model is not None else None
    with client_of(url, user) as client, history_of(history, client, since) as found:
        report = trial(
            found,
            artefact,
            simulated=bool(found.manifest["simulated"]),
            source=source_of(found),
            seed=seed,
            event_share=event_share,
        )
    text = as_markdown(report)
    if pictures is not None:
        note = report.source + (" (SIMULATED)" if report.simulated else "")
        text += pictured(pictures, report.models, note, markdown)
    if markdown is not None:
        _write(markdown, text)
    document = report.to_dict()
    if must_beat is not None:
        against = report.against.get(must_beat)
        if against is None:
            mend = f"there are {', '.join(report.against) or 'none: name a model'}"
            raise UserError(f"there is no verdict against {must_beat!r}", path="--must-beat", mend=mend)
        if not against["isBetter"]:
            raise UserError(f"it is not better than {must_beat}: {against['reason']}", path="--must-beat", **document)
    show(as_json, document, lambda: [escape(text)])


@app.command()
def rows(
    out: Annotated[Path, typer.Option("--out", help="A new folder.")],
    history: HistoryFolder = None,
    since: Since = None,
    seed: Seed = 1,
    event_share: EventShare = EVENT_SHARE,
    url: Url = URL_DEFAULT,
    user: User = USER_DEFAULT,
    as_json: Json = False,
) -> None:
    """Write feature rows with labels as CSV, and their schema, for training a model of one's own on them."""
    from delay.stock.watch import bins_of
    from delay.training import training_sets
    from orderplan.cli.model_history import history_of

    with client_of(url, user) as client, history_of(history, client, since) as found:
        split = training_sets(found, seed=seed, event_share=event_share)
        simulated = bool(found.manifest["simulated"])
    signature = {
        "simulated": simulated,
        "trainedUntil": split.at.isoformat(),
        "schema": split.schema.to_dict(),
        # What is watched later are ticks.
        "bins": bins_of(split.train.rows[split.train.tick > 0]),
        "labels": LABELS,
    }
    _write(out / "schema.json", json.dumps(signature, indent=2) + "\n")
    for name, part in (("train", split.train), ("test", split.test)):
        _write_rows(out / f"{name}.csv", part, simulated=simulated)
    document = {"folder": str(out), "train": len(split.train), "test": len(split.test), "simulated": simulated}
    told = f"{len(split.train):,} rows to train on and {len(split.test):,} later ones are in {out}"
    show(as_json, document, lambda: [told + (" (SIMULATED)" if simulated else "")])


def _write_rows(path: Path, part: TrainingSet, *, simulated: bool) -> None:
    from delay.features import NAMES

    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow((*NAMES, *LABELS))
        columns = (part.is_late, part.left_s, part.order_ids, part.at, part.tick)
        for row, late, *rest in zip(part.rows.tolist(), *(each.tolist() for each in columns), strict=True):
            writer.writerow((*row, int(late), *rest, int(simulated)))


@app.command()
def register(
    name: Name,
    model: Annotated[str, typer.Argument(help="A model's file, package.module:Class, or an entry point.")],
    schema: Annotated[Path | None, typer.Option("--schema", help="schema.json of `orderplan model rows`.")] = None,
    is_estimator: Annotated[
        bool, typer.Option("--estimator", help="The address is a fitted estimator with predict_proba.")
    ] = False,
    tried: Annotated[
        Path | None, typer.Option("--backtest", help="What `orderplan model backtest --json` said of it, to be kept.")
    ] = None,
    url: Url = URL_DEFAULT,
    user: User = USER_DEFAULT,
    as_json: Json = False,
) -> None:
    """Take a model into the registry, after it was loaded and tried on a few rows here; nothing uses it yet."""
    from delay.stock.running import Runner

    artefact = _artefact(model, schema, is_estimator=is_estimator)
    Runner(json.loads(artefact.text))
    if tried is not None:
        artefact = _with_figures(artefact, _read_json(tried, "--backtest"))
    with client_of(url, user) as client:
        found = client.register_delay_model(name, json.loads(artefact.text))
    show(as_json, found, lambda: [f"{name} is registered ({found['form']}, {found['digest'][:12]})"])


def _artefact(model: str, schema: Path | None, *, is_estimator: bool) -> Artefact:
    """The model that a file or an address names.

    Raises:
        UserError: there is none, or its features are not known.
        BadDocument: it is none.
    """
    from delay.stock.artefact import FORMAT, Artefact
    from delay.stock.folders import packed

    path = Path(model)
    is_folder = (path / "MLmodel").is_file()
    if path.suffix == ".json":
        return Artefact.read(_read_json(path, "MODEL"))
    is_file = path.suffix in FILES or is_folder
    form = "mlflow" if is_folder else FILES[path.suffix] if is_file else "estimator" if is_estimator else "class"
    signature: dict[str, Any] = {"source": path.name if is_file else model}
    if form != "class":
        if schema is None:
            mend = "name the schema.json that `orderplan model rows` wrote beside the rows that it was trained on"
            raise UserError("which features the model was trained on is not known", path="--schema", mend=mend)
        stored = _read_json(schema, "--schema")
        signature |= {name: value for name, value in stored.items() if name != "labels"}
    if not is_file:
        body: dict[str, Any] = {"address": model}
    elif form == "trees":
        body = {"lightgbm": _read_bytes(path, "MODEL").decode("utf-8", "replace")}
    elif is_folder:
        body = {"base64": base64.b64encode(packed(path)).decode()}
    else:
        body = {"base64": base64.b64encode(_read_bytes(path, "MODEL")).decode()}
    return Artefact.read({"format": FORMAT, "form": form, "signature": signature, "body": body})


def _with_figures(artefact: Artefact, tried: Mapping[str, Any]) -> Artefact:
    """The model with the figures of its backtest in its signature.

    Raises:
        UserError: it is the backtest of another model, or none.
    """
    from delay.stock.artefact import FORMAT, Artefact

    if tried.get("digest") != artefact.digest:
        mend = "give what `orderplan model backtest --json` wrote for this model, with the same schema"
        raise UserError("it is not the backtest of this model", path="--backtest", mend=mend)
    figures = {name: value for name, value in tried["models"]["model"].items() if name in KEPT}
    signature = {**artefact.signature, "metrics": figures}
    return Artefact.read({"format": FORMAT, "form": artefact.form, "signature": signature, "body": dict(artefact.body)})


def _read_bytes(path: Path, named: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}", path=named, mend="name a file") from error


def _read_json(path: Path, named: str) -> dict[str, Any]:
    try:
        found = json.loads(_read_bytes(path, named))
    except ValueError as error:
        raise UserError(f"{path} is not JSON", path=named, mend="name a file that orderplan wrote") from error
    if not isinstance(found, dict):
        raise UserError(f"{path} is no JSON object", path=named, mend="name a file that orderplan wrote")
    return found


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        mend = "make room, or name another file"
        raise UserError(f"{path} cannot be written: {error.strerror}", path="--out", mend=mend) from error


@app.command()
def shadow(
    name: Name, reason: Reason = "", url: Url = URL_DEFAULT, user: User = USER_DEFAULT, as_json: Json = False
) -> None:
    """Let a model score beside the champion: its scores are kept apart and shown to nobody."""
    _steer(name, "shadow", url, user, as_json, reason=reason)


@app.command()
def rest(
    name: Name, reason: Reason = "", url: Url = URL_DEFAULT, user: User = USER_DEFAULT, as_json: Json = False
) -> None:
    """Let a model stop scoring in shadow."""
    _steer(name, "rest", url, user, as_json, reason=reason)


@app.command()
def promote(
    name: Name,
    if_better: Annotated[
        bool, typer.Option("--if-better", help="Only if outcomes show that it is better; else exit code 2.")
    ] = False,
    margin: Annotated[
        float | None, typer.Option("--margin", help="By which its Brier score must be lower, for certain (0.002).")
    ] = None,
    outcomes: Annotated[
        int | None, typer.Option("--outcomes", help="Orders with a known outcome that are needed (200).")
    ] = None,
    reason: Reason = "",
    url: Url = URL_DEFAULT,
    user: User = USER_DEFAULT,
    as_json: Json = False,
) -> None:
    """Make a model the champion; the one before it is retired."""
    _steer(
        name, "promote", url, user, as_json, reason=reason, ifBetter=if_better, margin=margin, outcomes=outcomes
    )


@app.command()
def retire(
    name: Name, reason: Reason = "", url: Url = URL_DEFAULT, user: User = USER_DEFAULT, as_json: Json = False
) -> None:
    """Take a model out of use; after the champion the built-in model answers."""
    _steer(name, "retire", url, user, as_json, reason=reason)


def _steer(name: str, action: str, url: str, user: str, as_json: bool, **members: Any) -> None:
    with client_of(url, user) as client:
        found = client.steer_delay_model(name, action, **members)
    figures = found.get("figures")
    told = f"{name} is {found['stage']}"
    show(as_json, found, lambda: [told + (f": {figures['reason']}" if figures else "")])


@app.command()
def rollback(
    reason: Reason = "", url: Url = URL_DEFAULT, user: User = USER_DEFAULT, as_json: Json = False
) -> None:
    """Put the champion before the present one back."""
    with client_of(url, user) as client:
        found = client.roll_delay_model_back(reason)
    show(as_json, found, lambda: [f"{found['was']} is retired; {found['champion'] or 'the built-in model'} answers"])


@app.command("list")
def list_models(url: Url = URL_DEFAULT, user: User = USER_DEFAULT, as_json: Json = False) -> None:
    """List models with their stages, and what was done with them."""
    with client_of(url, user) as client:
        found = client.delay_models()
    show(as_json, found, lambda: _listed(found))


def _listed(found: Document) -> Iterable[RenderableType]:
    yield f"champion: {found['champion'] or 'none, the built-in model answers'}"
    listed = [
        (
            each["name"],
            each["stage"],
            _now(each),
            each["form"],
            *_figures(each["signature"].get("metrics", {})),
            moment(each["signature"].get("trainedUntil", ""))[:10],
            _is_simulated(each["signature"].get("simulated")),
            each["digest"][:12],
        )
        for each in found["models"]
    ]
    if listed:
        columns = ("model", "stage", "now", "form", "AUC", "Brier", "skill", "ECE", "trained until", "orders", "digest")
        yield table(columns, listed)
    changes = [
        (moment(each["at"])[:19], each["action"], each["name"], each["former"], each["by"], each["reason"])
        for each in found["changes"]
    ]
    if changes:
        yield table(("at (UTC)", "action", "model", "before", "by", "reason"), changes)


def _now(model: Document) -> str:
    from orderplan.cli.model_report import standing

    if model["stage"] not in ("champion", "shadow"):
        return ""
    cause = (model["atWork"] or {}).get("lastCause")
    return standing(model["atWork"]) + (f" ({cause})" if cause else "")


def _is_simulated(simulated: object) -> str:
    return "SIMULATED" if simulated is True else "real" if simulated is False else "not known"


@app.command()
def report(
    markdown: Annotated[Path | None, typer.Option("--markdown", help="Write the report there, too.")] = None,
    pictures: Pictures = None,
    url: Url = URL_DEFAULT,
    user: User = USER_DEFAULT,
    as_json: Json = False,
) -> None:
    """Tell how the models have done of late: against outcomes, against each other, and what has shifted."""
    from orderplan.cli.model_report import as_markdown, pictured

    with client_of(url, user) as client:
        found = client.delay_report()
    text = as_markdown(found)
    if pictures is not None:
        live = {each["name"]: each["live"] for each in found["models"] if each["live"]["outcomes"]}
        text += pictured(pictures, live, f"the newest orders with a known outcome, {found['at'][:10]}", markdown)
    if markdown is not None:
        _write(markdown, text)
    show(as_json, found, lambda: [escape(text)])
