"""What stands in the timeline of an account by index; products by the values of their attributes; rotations of keys.

The release before does not use it. The indexes are made without a lock, each in a statement of its own, while that one
works on: what was interrupted is begun anew by the next start.
"""

from __future__ import annotations

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_INDEXES = {
    "product_order_account_idx": "product_order (tenant, account, created_at, order_id) where account is not null",
    "product_order_account_end_idx": "product_order (tenant, account, ended_at, order_id) "
    "where account is not null and ended_at is not null",
    "manual_task_account_idx": "manual_task (tenant, (body ->> 'account'), opened_at, task_id)",
    "manual_task_account_end_idx": "manual_task (tenant, (body ->> 'account'), closed_at, task_id) "
    "where closed_at is not null",
    "fallout_item_account_idx": "fallout_item (tenant, account, failed_at)",
    "asset_account_time_idx": "asset (tenant, account, updated_at, asset_id)",
    # Last: it takes longest by far.
    "asset_attributes_idx": "asset using gin ((body -> 'attributes') jsonb_path_ops)",
}


def upgrade() -> None:
    """Create the table and the indexes."""
    op.execute(
        """
        create table if not exists key_change (
            change_id bigint generated always as identity,
            tenant text not null,
            key_id text not null,
            at timestamptz not null,
            actor text not null,
            reason text not null,
            constraint key_change_pkey primary key (change_id),
            constraint key_change_key unique (tenant, key_id)
        )
        """
    )
    with op.get_context().autocommit_block():
        for name, rows in _INDEXES.items():
            _drop_unfinished(name)
            op.execute(f"create index concurrently if not exists {name} on {rows}")
        # The other one begins as it does.
        op.execute("drop index concurrently if exists asset_account_idx")


def _drop_unfinished(name: str) -> None:
    """Drop the index if its making was interrupted: it stands there, invalid, and answers nothing."""
    is_unfinished = op.get_bind().exec_driver_sql(
        "select exists (select from pg_index where indexrelid = to_regclass($1) and not indisvalid)", (name,)
    )
    if is_unfinished.scalar():
        op.execute(f"drop index concurrently {name}")


def downgrade() -> None:
    """Drop them."""
    op.execute("create index asset_account_idx on asset (tenant, account)")
    for name in _INDEXES:
        op.execute(f"drop index {name}")
    op.execute("drop table key_change")
