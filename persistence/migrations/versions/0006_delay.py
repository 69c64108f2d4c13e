"""Scores of the delay predictor: the newest of each order, and a thinned history.

The release before knows neither table; nothing else refers to them.
"""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0004"
branch_labels = None
depends_on = None

_STATEMENTS = (
    """create table delay_score (
        order_id text constraint delay_score_pkey primary key,
        tenant text not null,
        scored_at timestamptz not null,
        p_late double precision not null,
        expected_at timestamptz not null,
        low_at timestamptz not null,
        high_at timestamptz not null,
        due_at timestamptz not null,
        due_basis text not null,
        model text not null,
        version text not null,
        factors jsonb not null,
        ended_at timestamptz
    ) with (fillfactor = 70)""",
    "create index delay_score_open_idx on delay_score (tenant, p_late, order_id) where ended_at is null",
    "create index delay_score_ended_idx on delay_score (ended_at) where ended_at is not null",
    """create table delay_history (
        order_id text,
        scored_at timestamptz,
        tenant text not null,
        p_late double precision not null,
        expected_at timestamptz not null,
        constraint delay_history_pkey primary key (order_id, scored_at)
    )""",
)


def upgrade() -> None:
    """Create them."""
    for statement in _STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    """Drop them."""
    op.execute("drop table delay_history")
    op.execute("drop table delay_score")
