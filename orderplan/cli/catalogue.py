"""`orderplan catalogue`: check, import and publish releases."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import RenderableType

from domain.errors import BadExpression, BadRelease
from orderplan.cli.common import USER_DEFAULT, Json, Url, User, cell, client_of, moment, print_json, show
from orderplan.cli.files import document_text, read_folder, read_object, write_document, write_text
from orderplan.cli.release import list_releases
from orderplan.client import URL_DEFAULT, Client

if TYPE_CHECKING:
    from domain.catalogue import Release
    from domain.release import CompiledRelease

app = typer.Typer(help="Check, import and publish catalogue releases.", no_args_is_help=True)
importers = typer.Typer(help="Turn a foreign catalogue into a release.", no_args_is_help=True)
app.add_typer(importers, name="import")


class Form(StrEnum):
    """How a release is written."""

    YAML = "yaml"
    JSON = "json"


File = Annotated[str, typer.Argument(help="A release, YAML or JSON; - reads standard input.")]


@app.command("validate")
def validate(file: File, as_json: Json = False) -> None:
    """Check a release as publishing would; needs no server. Price functions are looked for on this machine."""
    compiled = _compiled(file, read_object(file, "a release"), with_functions=True)
    summary = {"valid": True, **_summary(compiled)}
    show(as_json, summary, lambda: _shown(summary, "is valid"))


@app.command("publish")
def publish(
    file: File,
    version: Annotated[str | None, typer.Option("--version", help="Publish it under this version instead.")] = None,
    effective_from: Annotated[
        str | None, typer.Option("--effective-from", help="From when new orders take it, such as 2027-01-31T00:00:00Z.")
    ] = None,
    url: Url = URL_DEFAULT,
    user: User = USER_DEFAULT,
    as_json: Json = False,
) -> None:
    """Publish a release: new orders take it from then on, or from the moment that is given."""
    document = read_object(file, "a release")
    if version is not None:
        document["version"] = version
    _compiled(file, document)
    with client_of(url, user) as client:
        answer = client.publish_release(document, effective_from=effective_from)
        answer["systemsMissing"] = _missing(client, document)
    show(as_json, answer, lambda: _shown(answer, _published(answer)))


app.command("list")(list_releases)


@app.command("export")
def export(
    release_id: Annotated[str, typer.Argument(metavar="RELEASE", help="A published release: CODE@VERSION.")],
    form: Annotated[Form, typer.Option("--format", help="How to write it.")] = Form.YAML,
    out: Annotated[Path | None, typer.Option("--output", help="Write it to this file instead of the screen.")] = None,
    url: Url = URL_DEFAULT,
    user: User = USER_DEFAULT,
    as_json: Json = False,
) -> None:
    """Write a published release in its file form, as publish reads it."""
    with client_of(url, user) as client:
        document = client.release(release_id)
    if out is not None:
        write_text(out, document_text(document, is_json=form is Form.JSON))
        show(as_json, {"id": release_id, "file": str(out)}, lambda: [f"release {release_id} is written to {out}"])
    elif as_json:
        print_json(document)
    else:
        typer.echo(document_text(document, is_json=form is Form.JSON), nl=False)


@app.command("schema")
def schema(as_json: Json = False) -> None:
    """Print the JSON Schema of the release file, for editors and checks."""
    from domain.catalogue import Release

    document = Release.model_json_schema(by_alias=True)
    typer.echo(json.dumps(document, indent=None if as_json else 2))


@importers.command("tmf620")
def import_tmf620_file(
    file: Annotated[str, typer.Argument(help="A TMF620 catalogue, JSON or YAML.")],
    bindings: Annotated[
        str | None, typer.Option("--bindings", help="What the catalogue cannot say: systems, retry, timeoutS, code.")
    ] = None,
    version: Annotated[str, typer.Option("--version", help="The version of the release.")] = "1",
    publish_it: Annotated[
        bool, typer.Option("--publish/--dry-run", help="Publish it, or only show what would become of it.")
    ] = False,
    out: Annotated[Path | None, typer.Option("--out", help="Write the release to this file (.yaml or .json).")] = None,
    url: Url = URL_DEFAULT,
    user: User = USER_DEFAULT,
    as_json: Json = False,
) -> None:
    """Turn a TMF620 catalogue into a release; needs a server only with --publish."""
    from adapters.importers.tmf620 import import_tmf620

    document = read_object(file, "a catalogue")
    bound = read_object(bindings, "bindings") if bindings is not None else None
    release, findings = import_tmf620(document, bound, version)
    _keep_import(release, findings, {}, publish_it, out, url, user, as_json)


@importers.command("dro")
def import_dro_folder(
    folder: Annotated[str, typer.Argument(help="The folder of a Dynamic Revenue Orchestrator export: CSV files.")],
    bindings: Annotated[
        str | None, typer.Option("--bindings", help="What the export cannot say: users, systems, flows, events, code.")
    ] = None,
    version: Annotated[str, typer.Option("--version", help="The version of the release.")] = "1",
    publish_it: Annotated[
        bool, typer.Option("--publish/--dry-run", help="Publish it, or only show what would become of it.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option("--output", "--out", help="Write the release to this file (.yaml or .json).")
    ] = None,
    url: Url = URL_DEFAULT,
    user: User = USER_DEFAULT,
    as_json: Json = False,
) -> None:
    """Turn a DRO export into a release; needs a server only with --publish."""
    from adapters.importers.dro import import_dro

    files = read_folder(folder, ".csv")
    bound = read_object(bindings, "bindings") if bindings is not None else None
    try:
        imported = import_dro(files, bound, version, Path(folder).resolve().name)
    except BadRelease as error:
        _list_problems(error.facts.get("problems", ()))
        raise
    diagrams = {each.name: each.to_dict(imported.release.code) for each in imported.diagrams}
    _keep_import(
        imported.release, imported.findings, imported.environment, publish_it, out, url, user, as_json, diagrams
    )


def _keep_import(
    release: Release,
    findings: Sequence[str],
    environment: Mapping[str, Any],
    publish_it: bool,
    out: Path | None,
    url: str,
    user: str,
    as_json: bool,
    diagrams: Mapping[str, Mapping[str, Any]] | None = None,
) -> None:
    """Say what became of an import, and write or publish it, with its diagrams, where that is wanted."""
    from domain.publish import compile_release
    from domain.release_file import release_document

    try:
        summary = _summary(compile_release(release))
    except BadRelease as error:
        _list_problems(error.facts.get("problems", ()))
        raise
    summary["findings"] = [*findings, *summary["findings"]]
    if environment:
        summary["environment"] = dict(environment)
    if diagrams:
        summary["diagrams"] = [{"name": name, **diagram} for name, diagram in diagrams.items()]
    body = release_document(release)
    if out is not None:
        write_document(out, body)
        summary["file"] = str(out)
    verdict = f"is written to {out}" if out is not None else "could be published; --publish or --out would keep it"
    if publish_it:
        with client_of(url, user) as client:
            answer = client.publish_release(body)
            summary["systemsMissing"] = _missing(client, body)
            for name in client.create_diagrams(diagrams) if diagrams else ():
                summary["findings"].append(f"diagram {name!r} is there already, with other lanes: it is left as it is")
        summary["published"] = answer["published"]
        verdict = _published(answer)
    show(as_json, summary, lambda: _shown(summary, verdict))


def _compiled(file: str, document: Mapping[str, Any], *, with_functions: bool = False) -> CompiledRelease:
    """The release compiled; its price functions loaded, too, if asked for.

    Raises:
        BadRelease: it cannot be published; every problem is listed.
    """
    from adapters.price_process import check_functions
    from domain.publish import compile_release
    from domain.release_file import read_release

    try:
        compiled = compile_release(read_release(document))
        if with_functions:
            asyncio.run(check_functions(compiled.source))
        return compiled
    except BadRelease as error:
        _list_problems(error.facts.get("problems", ()))
        where = f"{error.path}: " if error.path else ""
        raise BadRelease(
            f"{file} cannot be published: {where}{error.reason}", mend=error.mend, **error.facts
        ) from error
    except BadExpression as error:
        raise BadRelease(f"{file} cannot be published: {error.reason}", **error.facts) from error


def _list_problems(problems: Sequence[str]) -> None:
    """Everything that is wrong, on standard error, before the line that sums it up."""
    if len(problems) > 1:
        for each in problems:
            typer.echo(f"  {each}", err=True)


def _summary(compiled: CompiledRelease) -> dict[str, Any]:
    source = compiled.source
    return {
        "id": compiled.release_id,
        "products": len(source.products),
        "plans": len(source.plans),
        "items": len(compiled.items),
        "dependencies": len(source.dependencies),
        "scenarios": len(source.scenarios),
        "findings": compiled.findings,
    }


def _missing(client: Client, document: Mapping[str, Any]) -> list[str]:
    """Systems of the release that the environment does not know how to reach yet."""
    known = {each["code"] for each in client.list_systems()}
    return [each["code"] for each in document.get("systems", ()) if each["code"] not in known]


def _published(answer: Mapping[str, Any]) -> str:
    moment_given = answer.get("effectiveFrom")
    if moment_given is not None:
        verb = "is" if answer["published"] else "was"
        return f"{verb} scheduled: new orders take it from {moment(moment_given)} (UTC) on"
    return "is published" if answer["published"] else "was published before, with the same contents"


def _shown(summary: Mapping[str, Any], verdict: str) -> Iterable[RenderableType]:
    counts = ", ".join(
        f"{summary[name]} {name}" for name in ("products", "plans", "items", "dependencies", "scenarios")
    )
    yield f"release {cell(summary['id'])} {cell(verdict)}: {counts}"
    for finding in summary["findings"]:
        yield f"  note: {cell(finding)}"
    for queue in summary.get("environment", {}).get("queues", ()):
        yield f"  queue {cell(queue['code'])}: its members are {cell(', '.join(queue['members']))}"
    for diagram in summary.get("diagrams", ()):
        yield f"  diagram {cell(diagram['name'])}: its lanes are {cell(', '.join(diagram['plans']))}"
    for code in summary.get("systemsMissing", ()):
        yield f"  system {cell(code)} is not set up yet: orderplan system set {cell(code)} --adapter ..."
