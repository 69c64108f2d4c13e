"""Who has asked to see an encrypted value.

The release before does not use it.
"""

from __future__ import annotations

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    op.execute(
        """
        create table value_access (
            access_id bigint generated always as identity,
            tenant text not null,
            at timestamptz not null,
            actor text not null,
            reason text not null,
            asset_id text not null,
            name text not null,
            outcome text not null,
            constraint value_access_pkey primary key (access_id)
        )
        """
    )
    op.execute("create index value_access_asset_idx on value_access (tenant, asset_id, access_id)")


def downgrade() -> None:
    """Drop it."""
    op.execute("drop table value_access")
