"""Delay models with their stages, what they said at ticks, and what the list of risks is filtered by.

The release before knows none of it: its predictor goes on writing scores, whose new columns are then empty.
"""

from __future__ import annotations

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_STATEMENTS = (
    """create table delay_model (
        tenant text,
        name text,
        form text not null,
        digest text not null,
        signature jsonb not null,
        document text not null,
        stage text not null,
        registered_at timestamptz not null,
        registered_by text not null,
        constraint delay_model_pkey primary key (tenant, name),
        constraint delay_model_stage_check check (stage in ('registered', 'shadow', 'champion', 'retired'))
    )""",
    "create unique index delay_model_champion_key on delay_model (tenant) where stage = 'champion'",
    """create table delay_model_change (
        sequence bigint generated always as identity constraint delay_model_change_pkey primary key,
        tenant text not null,
        name text not null,
        action text not null,
        stage text not null,
        former text,
        at timestamptz not null,
        by text not null,
        reason text not null,
        figures jsonb
    )""",
    "create index delay_model_change_tenant_idx on delay_model_change (tenant, sequence)",
    """create table delay_tick (
        order_id text,
        tick smallint,
        model text,
        tenant text not null,
        scored_at timestamptz not null,
        p_late double precision not null,
        due_at timestamptz not null,
        late boolean,
        known_at timestamptz,
        constraint delay_tick_pkey primary key (order_id, tick, model)
    )""",
    "create index delay_tick_known_idx on delay_tick (tenant, model, known_at) where late is not null",
    "create index delay_tick_open_idx on delay_tick (tenant, due_at) where late is null",
    "alter table delay_score add column plans text[] not null default '{}'",
    "alter table delay_score add column steps text[] not null default '{}'",
    "alter table delay_score add column systems text[] not null default '{}'",
)


def upgrade() -> None:
    """Create them."""
    for statement in _STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    """Drop them."""
    for column in ("plans", "steps", "systems"):
        op.execute(f"alter table delay_score drop column {column}")
    for table in ("delay_tick", "delay_model_change", "delay_model"):
        op.execute(f"drop table {table}")
