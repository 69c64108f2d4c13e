"""Every table is either erased from, or known to hold nothing of customers, or named as kept."""

from __future__ import annotations

from persistence.erasures import ERASED, KEPT, OF_NO_CUSTOMER
from persistence.tables import key_metadata, metadata


def test_what_an_erasure_does_with_each_table_is_decided() -> None:
    tables = metadata.tables.keys() | key_metadata.tables.keys()

    assert tables - ERASED - KEPT.keys() - OF_NO_CUSTOMER == set(), "decide what an erasure does with these"
    assert ERASED | KEPT.keys() | OF_NO_CUSTOMER == tables, "these are no tables any more"
    assert len(ERASED) + len(KEPT) + len(OF_NO_CUSTOMER) == len(tables), "one decision for each"
