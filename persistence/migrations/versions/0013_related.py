"""A table of items that wait for related orders.

The release before neither writes nor reads it: what it composes relates to nothing.
"""

from __future__ import annotations

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table and its index."""
    op.execute(
        """
        create table related_wait (
            tenant text not null,
            order_id text not null,
            item text not null,
            channel text not null,
            name text not null,
            ref text not null,
            blocks text[] not null,
            opened_at timestamptz not null,
            constraint related_wait_pkey primary key (order_id, item)
        ) with (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000)
        """
    )
    op.execute("create index related_wait_name_idx on related_wait (tenant, name)")


def downgrade() -> None:
    """Drop it."""
    op.execute("drop table related_wait")
