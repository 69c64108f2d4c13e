"""TMF637 products in: the installed base as it is loaded from elsewhere.

Values that must not stay are left out here, before anything of a product goes further: attributes that the product
declares not assetizable, and undeclared ones unless the release keeps them.
"""

from __future__ import annotations

from typing import Any

from domain.errors import BadDocument
from domain.inventory import Asset
from domain.orders import PARENT_RELATIONS
from domain.release import CompiledRelease
from gateway.documents import Problems

PRODUCTS_MAX = 10_000
ID_LENGTH_MAX = 200


def parse_products(products: Any, release: CompiledRelease) -> dict[str, list[Asset]]:
    """TMF637 product documents as assets, by account.

    Sealed attributes of the release are left out: they must not be kept.

    Raises:
        BadDocument: with every problem and its path; nothing is imported then.
    """
    problems = Problems()
    if not isinstance(products, list) or not products:
        raise BadDocument("must be a list of products", path="products", mend='send {"products": [...]}')
    if len(products) > PRODUCTS_MAX:
        raise BadDocument(f"must have at most {PRODUCTS_MAX} products", path="products", mend="send it in parts")
    accounts: dict[str, list[Asset]] = {}
    seen: set[str] = set()
    for index, product in enumerate(products):
        path = f"products[{index}]"
        if not isinstance(product, dict):
            problems.add(path, "must be an object")
            continue
        account, asset = read_product(product, path, release, problems)
        if asset is None or account is None:
            continue
        if asset.asset_id in seen:
            problems.add(f"{path}.id", f"{asset.asset_id!r} is used twice")
            continue
        seen.add(asset.asset_id)
        accounts.setdefault(account, []).append(asset)
    problems.raise_if_any()
    return accounts


def read_product(
    product: dict[str, Any], path: str, release: CompiledRelease, problems: Problems
) -> tuple[str | None, Asset | None]:
    """(account, asset) of one product; None for what cannot be told, with the problems noted."""
    asset_id = product.get("id")
    if not isinstance(asset_id, str) or not asset_id:
        problems.add(f"{path}.id", "must be a text that is not empty")
        return None, None
    if len(asset_id) > ID_LENGTH_MAX:
        problems.add(f"{path}.id", f"must have at most {ID_LENGTH_MAX} characters")
        return None, None
    specification = _ref(product, "productSpecification", path, problems)
    offering = _ref(product, "productOffering", path, problems)
    code = release.by_specification.get(specification or "") or release.by_offering.get(offering or "")
    if code is None:
        problems.add(
            f"{path}.productSpecification.id", f"the release {release.release_id} has no product {specification!r}"
        )
        return None, None
    account = _account(product)
    if account is None:
        problems.add(path, "names neither a billingAccount nor a related party with role customer")
        return None, None
    definition = release.products[code]
    keeps_undeclared = release.source.undeclared == "keep"
    attributes = {}
    for position, each in enumerate(_list(product, "productCharacteristic", path, problems)):
        if not isinstance(each, dict) or not isinstance(each.get("name"), str):
            problems.add(f"{path}.productCharacteristic[{position}]", "must be an object with name and value")
            continue
        value = each.get("value")
        if isinstance(value, dict) and any(str(name).startswith("$") for name in value):
            problems.add(f"{path}.productCharacteristic[{position}].value", "has a member whose name begins with $")
            continue
        declared = definition.attributes.get(each["name"])
        if declared.assetizable if declared is not None else keeps_undeclared:
            attributes[each["name"]] = value
    quantity = product.get("quantity", 1)
    if not isinstance(quantity, int) or isinstance(quantity, bool) or quantity < 1:
        problems.add(f"{path}.quantity", "must be a whole number of at least 1")
        return None, None
    relations = []
    for position, each in enumerate(_list(product, "productRelationship", path, problems)):
        other = each.get("product") if isinstance(each, dict) else None
        if not isinstance(other, dict) or not isinstance(other.get("id"), str):
            problems.add(f"{path}.productRelationship[{position}]", "must be an object with product.id")
            continue
        relations.append([str(each.get("relationshipType", "")), other["id"]])
    if sum(kind in PARENT_RELATIONS for kind, _ in relations) > 1:
        problems.add(f"{path}.productRelationship", "names two products as the one above")
    if any(other == asset_id for _, other in relations):
        problems.add(f"{path}.productRelationship", "relates the product to itself")
    return account, Asset(
        asset_id=asset_id,
        product=code,
        root_id=asset_id,
        name=str(product.get("name") or definition.source.name or code),
        offering=offering,
        attributes=attributes,
        quantity=quantity,
        relations=relations,
        place=_place(product.get("place")),
        status=str(product.get("status") or "active"),
    )


def _list(product: dict[str, Any], member: str, path: str, problems: Problems) -> list[Any]:
    given = product.get(member)
    if given is not None and not isinstance(given, list):
        problems.add(f"{path}.{member}", "must be a list")
        return []
    return given or []


def _place(place: Any) -> dict[str, Any]:
    """The product's own place: the first one of a list."""
    first = place[0] if isinstance(place, list) and place else place
    return first if isinstance(first, dict) else {}


def _ref(product: dict[str, Any], member: str, path: str, problems: Problems) -> str | None:
    """The id of a reference, None where there is none."""
    given = product.get(member)
    if given is None:
        return None
    if not isinstance(given, dict) or not isinstance(given.get("id"), str):
        problems.add(f"{path}.{member}", "must be an object with an id")
        return None
    found: str = given["id"]
    return found


def _account(product: dict[str, Any]) -> str | None:
    billing = product.get("billingAccount")
    if isinstance(billing, dict) and isinstance(billing.get("id"), str) and billing["id"]:
        found: str = billing["id"]
        return found
    parties = product.get("relatedParty")
    for party in parties if isinstance(parties, list) else ():
        if isinstance(party, dict) and str(party.get("role", "")).lower() == "customer":
            return party["id"] if isinstance(party.get("id"), str) and party["id"] else None
    return None
