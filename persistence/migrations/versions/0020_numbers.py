"""Facts counted by the hour and orders that have ended, for the numbers that managers look at; what is due, by index.

The release before does not use them. What happened before the first start of this one is not counted. The indexes are
made without a lock, each in a statement of its own: what was interrupted is begun anew by the next start.
"""

from __future__ import annotations

from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

_INDEXES = {
    "product_order_due_idx": "product_order (tenant, requested_due_at, order_id) "
    "where ended_at is null and requested_due_at is not null",
    "manual_task_closed_idx": "manual_task (tenant, closed_at) where closed_at is not null",
}


def upgrade() -> None:
    """Create the tables and the indexes."""
    op.execute(
        """
        create table if not exists fact_count (
            tenant text not null,
            hour timestamptz not null,
            kind text not null,
            release_id text not null,
            item text not null,
            n bigint not null,
            constraint fact_count_pkey primary key (tenant, hour, kind, release_id, item)
        ) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000)
        """
    )
    op.execute(
        """
        create table if not exists ended_order (
            order_id text not null,
            tenant text not null,
            state text not null,
            created_at timestamptz not null,
            ended_at timestamptz not null,
            offers text[] not null,
            is_right boolean not null,
            constraint ended_order_pkey primary key (order_id),
            constraint ended_order_order_id_fkey foreign key (order_id)
                references product_order (order_id) on delete cascade
        )
        """
    )
    op.execute("create index if not exists ended_order_time_idx on ended_order (tenant, ended_at, order_id)")
    with op.get_context().autocommit_block():
        for name, rows in _INDEXES.items():
            _drop_unfinished(name)
            op.execute(f"create index concurrently if not exists {name} on {rows}")


def _drop_unfinished(name: str) -> None:
    """Drop the index if its making was interrupted: it stands there, invalid, and answers nothing."""
    is_unfinished = op.get_bind().exec_driver_sql(
        "select exists (select from pg_index where indexrelid = to_regclass($1) and not indisvalid)", (name,)
    )
    if is_unfinished.scalar():
        op.execute(f"drop index concurrently {name}")


def downgrade() -> None:
    """Drop them."""
    for name in _INDEXES:
        op.execute(f"drop index {name}")
    op.execute("drop table ended_order")
    op.execute("drop table fact_count")
