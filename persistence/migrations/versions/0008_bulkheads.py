"""Limits of systems, what holds them, and the items that wait for them.

The release before puts no item On Hold and lets go of none: nothing holds a system until this one does.
"""

from __future__ import annotations

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns and tables."""
    op.execute(
        """
        alter table system
            add column rate_per_s double precision,
            add column breaker_failures integer default 20,
            add column breaker_pause_s double precision not null default 10,
            add column drain_per_s double precision not null default 200
        """
    )
    op.execute(
        """
        create table system_hold (
            tenant text not null,
            code text not null,
            cause text not null,
            is_held boolean not null,
            reason text not null,
            actor text not null,
            since timestamptz not null,
            probe_at timestamptz,
            primary key (tenant, code, cause),
            constraint system_hold_cause_check check (cause in ('pause', 'offline', 'breaker'))
        )
        """
    )
    op.execute(
        """
        create table system_change (
            change_id bigint generated always as identity primary key,
            tenant text not null,
            code text not null,
            at timestamptz not null,
            actor text not null,
            kind text not null,
            body jsonb
        )
        """
    )
    op.execute("create index system_change_code_idx on system_change (tenant, code, change_id)")
    op.execute(
        """
        create table held_item (
            tenant text not null,
            system text not null,
            order_id text not null,
            item text not null,
            shard integer not null,
            cause text not null,
            priority smallint not null,
            ready_at timestamptz not null,
            held_at timestamptz not null,
            primary key (order_id, item)
        )
        """
    )
    op.execute(
        "create index held_item_next_idx on held_item (tenant, system, priority, ready_at, order_id, item)"
    )
    op.execute("create index held_item_probe_idx on held_item (tenant, system, held_at)")


def downgrade() -> None:
    """Drop them."""
    op.execute("drop table held_item, system_change, system_hold")
    op.execute(
        "alter table system drop column rate_per_s, drop column breaker_failures, drop column breaker_pause_s, "
        "drop column drain_per_s"
    )
