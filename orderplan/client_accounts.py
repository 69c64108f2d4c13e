"""The client's calls of accounts."""

from __future__ import annotations

from orderplan.client_calls import Calls, Document, part


class AccountCalls(Calls):
    """One account: what it has, what happened to it, its erasure; and the keys that hide attributes."""

    def rotate_key(self, reason: str) -> Document:
        """Encrypt with a new key from now on; its `keyId`."""
        made: Document = self.request("POST", "/v1/keys:rotate", {"reason": reason})
        return made

    def list_keys(self) -> list[Document]:
        """The keys, newest first: `keyId`, `isMade`, and of those that a rotation gave `at`, `by`, `reason`."""
        found: Document = self.request("GET", "/v1/keys")
        keys: list[Document] = found["keys"]
        return keys

    def reveal_value(self, product_id: str, name: str, reason: str, *, roles: str = "") -> Document:
        """The value of an attribute that stands encrypted in a product: `value`. `roles` must hold privacy."""
        path = f"/v1/products/{part(product_id)}/attributes/{part(name)}:reveal"
        shown: Document = self.request("POST", path, {"reason": reason}, headers={"X-Roles": roles})
        return shown

    def value_accesses(self, *, product_id: str | None = None, limit: int = 100) -> list[Document]:
        """Who has asked to see an encrypted value, newest first: at, by, reason, productId, name, outcome."""
        query = {"productId": product_id, "limit": str(limit)}
        found: Document = self.request("GET", "/v1/value-access", query=query)
        accesses: list[Document] = found["accesses"]
        return accesses

    def erase_account(self, account: str, reason: str, *, products: bool = False, roles: str = "") -> Document:
        """Erase an account; the certificate. `products`: those not terminated go too. `roles` must hold privacy."""
        body = {"reason": reason, "products": products}
        done: Document = self.request(
            "POST", f"/v1/accounts/{part(account)}:erase", body, headers={"X-Roles": roles}
        )
        return done

    def list_erasures(self, *, account: str | None = None, limit: int = 100) -> list[Document]:
        """Erasures and refused tries, newest first: id, account, state, by, reason, askedAt, orders, products."""
        found: Document = self.request("GET", "/v1/erasures", query={"account": account, "limit": str(limit)})
        erasures: list[Document] = found["erasures"]
        return erasures

    def erasure(self, erasure_id: str) -> Document:
        """The certificate: what was erased, what is kept, where the data went."""
        found: Document = self.request("GET", f"/v1/erasures/{part(erasure_id)}")
        return found

    def account(self, account: str) -> Document:
        """How many `orders`, `openOrders`, `products`, `openTasks` and `failedItems` it has."""
        found: Document = self.request("GET", f"/v1/accounts/{part(account)}")
        return found

    def account_timeline(self, account: str, *, limit: int = 50, cursor: str | None = None) -> Document:
        """A page of what happened to it, newest first, under `entries`, and where the next one begins, under `next`."""
        found: Document = self.request(
            "GET", f"/v1/accounts/{part(account)}/timeline", query={"limit": str(limit), "cursor": cursor}
        )
        return found
