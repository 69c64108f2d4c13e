"""`orderplan inventory`: what customers have."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import RenderableType

from orderplan.cli.common import USER_DEFAULT, Json, Roles, Url, User, UserError, cell, client_of, moment, show, table
from orderplan.cli.files import opened_for_errors, opened_lines, read_document
from orderplan.client import URL_DEFAULT

Document = dict[str, Any]
SHOWN_MAX: Final = 20
"""Lines of each kind that are shown; all of them are written with --errors or --output."""

app = typer.Typer(help="Load and list installed products.", no_args_is_help=True)


@app.command("import")
def import_inventory(
    file: Annotated[
        str,
        typer.Argument(
            help="TMF637 products, one JSON object a line (- reads standard input); or a list of them, YAML or JSON."
        ),
    ],
    errors: Annotated[
        Path | None, typer.Option("--errors", help="Write each refused line's number and reason here, one a line.")
    ] = None,
    url: Url = URL_DEFAULT,
    user: User = USER_DEFAULT,
    as_json: Json = False,
) -> None:
    """Load installed products; imported twice, nothing changes."""
    if not _is_lines(file):
        _import_list(file, url, user, as_json)
        return
    results: Counter[str] = Counter()
    refused: list[Document] = []
    with opened_lines(file) as lines, client_of(url, user) as client, opened_for_errors(errors) as kept:
        for answer in client.ingest_inventory(lines):
            if "error" not in answer:
                results[answer["result"]] += 1
                continue
            results["refused"] += 1
            if len(refused) < SHOWN_MAX:
                refused.append(answer)
            kept.write(json.dumps(answer) + "\n")
    shown: Document = {"products": results.total(), "results": dict(results), "refused": refused}
    if not refused:
        show(as_json, shown, lambda: [_counted(results)])
        return
    first = refused[0]["error"]
    raise UserError(
        f"{results['refused']} of {results.total()} lines are refused, the first is line {refused[0]['line']}: "
        f"{first.get('reason')}",
        path=first.get("path"),
        mend=first.get("mend") or ("see --errors FILE for all" if errors is None else f"see {errors}"),
        **shown,
    )


@app.command("reconcile")
def reconcile_inventory(
    file: Annotated[str, typer.Argument(help="TMF637 products, one JSON object a line; - reads standard input.")],
    out: Annotated[
        Path | None, typer.Option("--output", help="Write what is told of each product that is not the same here.")
    ] = None,
    url: Url = URL_DEFAULT,
    user: User = USER_DEFAULT,
    as_json: Json = False,
) -> None:
    """Compare a foreign list of installed products with ours; exit code 1 if they differ."""
    results: Counter[str] = Counter(same=0, missing=0, different=0, extra=0)
    fields: Counter[str] = Counter()
    first: dict[str, list[Document]] = {}
    with opened_lines(file) as lines, client_of(url, user) as client, opened_for_errors(out) as kept:
        for answer in client.reconcile_inventory(lines):
            result = "refused" if "error" in answer else answer["result"]
            results[result] += 1
            if result in ("same", "ignored"):
                continue
            fields.update(each["field"] for each in answer.get("differences", ()))
            found = first.setdefault(result, [])
            if len(found) < SHOWN_MAX:
                found.append(answer)
            kept.write(json.dumps(answer) + "\n")
    shown: Document = {"results": dict(results), "fields": dict(fields.most_common()), "first": first}

    def render() -> Iterable[RenderableType]:
        yield _counted(results)
        if fields:
            yield table(("field", "products"), [(cell(name), count) for name, count in fields.most_common()])
        for result, answers in first.items():
            named = ", ".join(cell(each.get("id", f"line {each.get('line')}")) for each in answers)
            more = results[result] - len(answers)
            yield f"{result}: {named}{f' and {more} more' if more else ''}"

    show(as_json, shown, render)
    if first:
        raise typer.Exit(1)


def _counted(results: Counter[str]) -> str:
    counts = ", ".join(f"{count} {cell(result)}" for result, count in results.items())
    return f"{results.total()} products: {counts}" if results else "no products"


def _is_lines(file: str) -> bool:
    """Whether a file holds a product a line: whether its first line is one by itself."""
    if file == "-":
        return True
    with opened_lines(file) as lines:
        first = next((line for line in lines if line.strip()), b"")
    try:
        product = json.loads(first)
    except ValueError:
        return False
    return isinstance(product, dict) and "products" not in product


def _import_list(file: str, url: str, user: str, as_json: bool) -> None:
    document = read_document(file, "a list of products")
    products = document.get("products") if isinstance(document, dict) else document
    if not isinstance(products, list):
        raise UserError(f"{file} holds no list of products", mend='write one a line, [..], or {"products": [..]}')
    with client_of(url, user) as client:
        answer = client.import_inventory(products)
    show(as_json, answer, lambda: [f"{answer['imported']} products of {answer['accounts']} accounts imported"])


@app.command("list")
def list_inventory(
    account: Annotated[str | None, typer.Option("--account", help="Only this account's.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="At most so many.")] = 50,
    offset: Annotated[int, typer.Option("--offset", min=0, help="Leave out the first so many.")] = 0,
    url: Url = URL_DEFAULT,
    user: User = USER_DEFAULT,
    as_json: Json = False,
) -> None:
    """List installed products."""
    with client_of(url, user) as client:
        page = client.list_products(account=account, offset=offset, limit=limit)

    def render() -> Iterable[RenderableType]:
        yield _products(page.items)
        yield f"{len(page.items)} of {page.total}"

    show(as_json, {"products": page.items, "total": page.total}, render)


@app.command("find")
def find_inventory(
    name: Annotated[str, typer.Argument(help="An attribute that the release declares searchable.", metavar="NAME")],
    value: Annotated[str, typer.Argument(help="The value.", metavar="VALUE")],
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="At most so many.")] = 50,
    url: Url = URL_DEFAULT,
    user: User = USER_DEFAULT,
    as_json: Json = False,
) -> None:
    """Find installed products by a value, such as a phone number."""
    with client_of(url, user) as client:
        found = client.find_products(name, value, limit=limit)
    show(as_json, {"products": found}, lambda: [_products(found) if found else f"nothing has {name} {value}"])


@app.command("reveal")
def reveal(
    product: Annotated[str, typer.Argument(help="Id of the product.", metavar="PRODUCT")],
    name: Annotated[str, typer.Argument(help="The attribute.", metavar="NAME")],
    reason: Annotated[str, typer.Option("--reason", help="Why; kept in the audit trail.")],
    roles: Roles = "",
    url: Url = URL_DEFAULT,
    user: User = USER_DEFAULT,
    as_json: Json = False,
) -> None:
    """Show an encrypted value of a product; that you asked is kept."""
    with client_of(url, user) as client:
        shown = client.reveal_value(product, name, reason, roles=roles)
    show(as_json, shown, lambda: [str(shown["value"])])


@app.command("accesses")
def accesses(
    product: Annotated[str | None, typer.Option("--product", help="Of this product alone.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="At most so many.")] = 100,
    url: Url = URL_DEFAULT,
    user: User = USER_DEFAULT,
    as_json: Json = False,
) -> None:
    """List who has asked to see an encrypted value, newest first."""
    with client_of(url, user) as client:
        found = client.value_accesses(product_id=product, limit=limit)
    rows = [
        (moment(each["at"]), each["by"], each["outcome"], each["productId"], each["name"], each["reason"])
        for each in found
    ]
    show(as_json, {"accesses": found}, lambda: [table(("at (UTC)", "who", "", "product", "attribute", "why"), rows)])


def _products(products: Iterable[Document]) -> RenderableType:
    rows = [
        (
            each["id"],
            each["name"],
            (each.get("billingAccount") or {}).get("id"),
            each["status"],
            each["quantity"],
            ", ".join(f"{one['name']}={one['value']}" for one in each["productCharacteristic"]),
        )
        for each in products
    ]
    return table(("product id", "product", "account", "status", "quantity", "attributes"), rows)
