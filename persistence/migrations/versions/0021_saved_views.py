"""Searches and filters that people keep under a name.

The release before does not use it.
"""

from __future__ import annotations

from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    op.execute(
        """
        create table saved_view (
            view_id text not null,
            tenant text not null,
            desk text not null,
            owner text not null,
            name text not null,
            is_shared boolean not null,
            query jsonb not null,
            changed_at timestamptz not null,
            constraint saved_view_pkey primary key (view_id),
            constraint saved_view_desk_check check (desk in ('orders', 'queues'))
        )
        """
    )
    op.execute("create unique index saved_view_name_key on saved_view (tenant, desk, owner, name)")


def downgrade() -> None:
    """Drop it."""
    op.execute("drop table saved_view")
