"""How far a shard was written, also where the newest facts themselves are gone."""

from __future__ import annotations

from typing import Final

HEAD: Final = (
    'greatest((select max(f."offset") from fact as f where f.shard = s.shard), '
    '(select m."offset" from archive_mark as m where m.shard = s.shard), 0)'
)
"""The last offset of shard `s.shard`, 0 for an empty one. Erasing an account takes newest facts away, too: what follows
must not be given their places.
"""
