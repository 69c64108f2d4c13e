"""People: members of queues, workers, their skills, and who changed them when; claims by their end.

The release before knows none of these tables; to it every queue stays open to everybody.
"""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_STATEMENTS = (
    """create table queue_member (
        tenant text,
        queue text,
        worker text,
        added_at timestamptz not null,
        added_by text not null,
        constraint queue_member_pkey primary key (tenant, queue, worker)
    )""",
    """create table worker (
        tenant text,
        worker text,
        on_shift boolean not null,
        on_shift_until timestamptz,
        changed_at timestamptz not null,
        changed_by text not null,
        constraint worker_pkey primary key (tenant, worker)
    )""",
    """create table worker_skill (
        tenant text,
        worker text,
        skill text,
        level integer not null,
        expires_at timestamptz,
        constraint worker_skill_pkey primary key (tenant, worker, skill)
    )""",
    """create table people_change (
        change_id bigint generated always as identity constraint people_change_pkey primary key,
        tenant text not null,
        at timestamptz not null,
        actor text not null,
        kind text not null,
        worker text not null,
        queue text,
        body jsonb
    )""",
    "create index people_change_worker_idx on people_change (tenant, worker, change_id)",
    "create index people_change_queue_idx on people_change (tenant, queue, change_id) where queue is not null",
    "create index manual_task_next_idx on manual_task (tenant, priority, due_at, opened_at, task_id) "
    "where closed_at is null",
    "create index task_claim_end_idx on task_claim (tenant, claim_ends_at)",
)


def upgrade() -> None:
    """Create them."""
    for statement in _STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    """Drop them."""
    op.execute("drop index task_claim_end_idx")
    op.execute("drop index manual_task_next_idx")
    for table in ("people_change", "worker_skill", "worker", "queue_member"):
        op.execute(f"drop table {table}")
