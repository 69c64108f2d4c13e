"""What was erased on request, or is being erased.

The release before does not use it. It writes offsets behind the newest fact that is there: after an erasure one must
not go back to it.
"""

from __future__ import annotations

from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    op.execute(
        """
        create table erasure (
            erasure_id text not null,
            tenant text not null,
            account text not null,
            state text not null,
            actor text not null,
            reason text not null,
            asked_at timestamptz not null,
            finished_at timestamptz,
            with_products boolean not null,
            order_ids text[] not null,
            secret_ids text[] not null,
            body jsonb not null,
            constraint erasure_pkey primary key (erasure_id),
            constraint erasure_state_check check (state in ('refused', 'begun', 'done'))
        )
        """
    )
    op.execute("create unique index erasure_begun_key on erasure (tenant, account) where state = 'begun'")
    op.execute("create index erasure_list_idx on erasure (tenant, asked_at, erasure_id)")


def downgrade() -> None:
    """Drop it."""
    op.execute("drop table erasure")
