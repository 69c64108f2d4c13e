"""Fallout: the items that are Fatally Failed, and bulk jobs over them.

The release before writes none of these rows; what fails under it is not listed until it fails again.
"""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_UP = (
    """create table fallout_item (
        tenant text not null,
        order_id text not null,
        item text not null,
        shard integer not null,
        name text not null,
        plan text not null,
        system text not null,
        queue text,
        error_code text not null,
        error text not null,
        attempt integer not null,
        failed_at timestamptz not null,
        account text,
        priority text not null,
        constraint fallout_item_pkey primary key (order_id, item)
    )""",
    "create index fallout_item_list_idx on fallout_item (tenant, failed_at, order_id, item)",
    "create index fallout_item_group_idx on fallout_item (tenant, system, error_code)",
    """create table job (
        job_id text not null constraint job_pkey primary key,
        tenant text not null,
        action text not null,
        operator text not null,
        reason text not null,
        selection jsonb not null,
        argument jsonb,
        rate double precision not null,
        state text not null,
        total integer not null,
        sent_to integer not null default 0,
        created_at timestamptz not null,
        ended_at timestamptz,
        epoch bigint not null default 0,
        lease_ends_at timestamptz,
        constraint job_state_check check (state in ('running', 'paused', 'stopped', 'done'))
    )""",
    "create index job_list_idx on job (tenant, created_at, job_id)",
    "create index job_running_idx on job (created_at) where state = 'running'",
    """create table job_item (
        job_id text not null,
        number integer not null,
        tenant text not null,
        order_id text not null,
        item text not null,
        outcome text,
        code text,
        reason text,
        settled_at timestamptz,
        constraint job_item_pkey primary key (job_id, number),
        constraint job_item_outcome_check check (outcome in ('done', 'refused', 'failed'))
    )""",
    "create index job_item_outcome_idx on job_item (job_id, outcome, number)",
)


def upgrade() -> None:
    """Create the tables."""
    for statement in _UP:
        op.execute(statement)


def downgrade() -> None:
    """Drop them."""
    op.execute("drop table job_item, job, fallout_item")
