"""All orders of an account by index, for its timeline; products by the values of their attributes; rotations of keys.

The release before does not use it.
"""

from __future__ import annotations

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the indexes."""
    op.execute(
        "create index product_order_account_idx on product_order (tenant, account, created_at) "
        "where account is not null"
    )
    op.execute(
        """
        create table key_change (
            change_id bigint generated always as identity,
            tenant text not null,
            key_id text not null,
            at timestamptz not null,
            actor text not null,
            reason text not null,
            constraint key_change_pkey primary key (change_id)
        )
        """
    )
    op.execute("create index asset_attributes_idx on asset using gin ((body -> 'attributes') jsonb_path_ops)")


def downgrade() -> None:
    """Drop them."""
    op.execute("drop index asset_attributes_idx")
    op.execute("drop table key_change")
    op.execute("drop index product_order_account_idx")
