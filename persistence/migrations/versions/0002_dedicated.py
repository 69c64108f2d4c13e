"""Dedicated plans: shards that one open order has for itself, and hosts that were started for one of them.

The release before reads and writes the same rows without the new columns: to it a dedicated shard is a shard like any
other, which no account and no client key leads to.
"""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns."""
    op.execute("alter table incarnation add column dedicated_shard integer")
    op.execute("alter table shard add column is_dedicated boolean not null default false, add column order_id text")


def downgrade() -> None:
    """Drop them."""
    op.execute("alter table shard drop column is_dedicated, drop column order_id")
    op.execute("alter table incarnation drop column dedicated_shard")
