"""`orderplan inventory`: what customers have."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import typer
from rich.console import RenderableType

from orderplan.cli.common import USER_DEFAULT, Json, Url, User, UserError, client_of, show, table
from orderplan.cli.files import read_document
from orderplan.client import URL_DEFAULT

app = typer.Typer(help="Load and list installed products.", no_args_is_help=True)


@app.command("import")
def import_inventory(
    file: Annotated[str, typer.Argument(help="TMF637 products: a list, or an object with `products`.")],
    url: Url = URL_DEFAULT,
    user: User = USER_DEFAULT,
    as_json: Json = False,
) -> None:
    """Load installed products; those that are known already stay as they are or are replaced."""
    document = read_document(file, "a list of products")
    products = document.get("products") if isinstance(document, dict) else document
    if not isinstance(products, list):
        raise UserError(f"{file} holds no list of products", mend='write [..] or {"products": [..]}')
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
        rows = [
            (
                each["id"],
                each["name"],
                (each.get("billingAccount") or {}).get("id"),
                each["status"],
                each["quantity"],
                ", ".join(f"{one['name']}={one['value']}" for one in each["productCharacteristic"]),
            )
            for each in page.items
        ]
        yield table(("product id", "product", "account", "status", "quantity", "attributes"), rows)
        yield f"{len(page.items)} of {page.total}"

    show(as_json, {"products": page.items, "total": page.total}, render)
