"""`orderplan catalogue`: check, import and publish releases."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import RenderableType

from domain.errors import BadExpression, BadRelease
from orderplan.cli.common import USER_DEFAULT, Json, Url, User, cell, client_of, moment, show, table
from orderplan.cli.files import read_object, write_document
from orderplan.client import URL_DEFAULT, Client

if TYPE_CHECKING:
    from domain.release import CompiledRelease

app = typer.Typer(help="Check, import and publish catalogue releases.", no_args_is_help=True)
importers = typer.Typer(help="Turn a foreign catalogue into a release.", no_args_is_help=True)
app.add_typer(importers, name="import")

File = Annotated[str, typer.Argument(help="A release, YAML or JSON; - reads standard input.")]


@app.command("validate")
def validate(file: File, as_json: Json = False) -> None:
    """Check a release as publishing would; needs no server."""
    compiled = _compiled(file, read_object(file, "a release"))
    summary = {"valid": True, **_summary(compiled)}
    show(as_json, summary, lambda: _shown(summary, "is valid"))


@app.command("publish")
def publish(file: File, url: Url = URL_DEFAULT, user: User = USER_DEFAULT, as_json: Json = False) -> None:
    """Publish a release: new orders take it from then on."""
    document = read_object(file, "a release")
    _compiled(file, document)
    with client_of(url, user) as client:
        answer = client.publish_release(document)
        answer["systemsMissing"] = _missing(client, document)
    show(as_json, answer, lambda: _shown(answer, _published(answer)))


@app.command("list")
def list_releases(url: Url = URL_DEFAULT, user: User = USER_DEFAULT, as_json: Json = False) -> None:
    """List published releases, newest first; new orders take the first one."""
    with client_of(url, user) as client:
        releases = client.list_releases()
    rows = [(each["id"], moment(each["publishedAt"])) for each in releases]
    show(
        as_json,
        {"releases": releases},
        lambda: [table(("release", "published (UTC)"), rows) if rows else "nothing is published yet"],
    )


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
    from domain.publish import compile_release
    from domain.release_file import release_document

    document = read_object(file, "a catalogue")
    bound = read_object(bindings, "bindings") if bindings is not None else None
    release, findings = import_tmf620(document, bound, version)
    summary = _summary(compile_release(release))
    summary["findings"] = [*findings, *summary["findings"]]
    body = release_document(release)
    if out is not None:
        write_document(out, body)
        summary["file"] = str(out)
    verdict = f"is written to {out}" if out is not None else "could be published; --publish or --out would keep it"
    if publish_it:
        with client_of(url, user) as client:
            answer = client.publish_release(body)
            summary["systemsMissing"] = _missing(client, body)
        summary["published"] = answer["published"]
        verdict = _published(answer)
    show(as_json, summary, lambda: _shown(summary, verdict))


def _compiled(file: str, document: Mapping[str, Any]) -> CompiledRelease:
    """The release compiled.

    Raises:
        BadRelease: it cannot be published; every problem is listed.
    """
    from domain.publish import compile_release
    from domain.release_file import read_release

    try:
        return compile_release(read_release(document))
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
    return "is published" if answer["published"] else "was published before, with the same contents"


def _shown(summary: Mapping[str, Any], verdict: str) -> Iterable[RenderableType]:
    counts = ", ".join(
        f"{summary[name]} {name}" for name in ("products", "plans", "items", "dependencies", "scenarios")
    )
    yield f"release {cell(summary['id'])} {cell(verdict)}: {counts}"
    for finding in summary["findings"]:
        yield f"  note: {cell(finding)}"
    for code in summary.get("systemsMissing", ()):
        yield f"  system {cell(code)} is not set up yet: orderplan system set {cell(code)} --adapter ..."
