"""Consumers of the feed and how far they have read; listeners of the channel events and what is on its way to them.

The release before knows none of these tables; nothing else refers to them.
"""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0006"
branch_labels = None
depends_on = None

_UP = (
    """create table consumer (
        tenant text not null,
        consumer text not null,
        epoch bigint not null,
        constraint consumer_pkey primary key (tenant, consumer)
    ) with (fillfactor = 20)""",
    """create table consumer_cursor (
        tenant text not null,
        consumer text not null,
        shard integer not null,
        "offset" bigint not null,
        constraint consumer_cursor_pkey primary key (tenant, consumer, shard)
    ) with (fillfactor = 20)""",
    """create table hub_listener (
        listener_id text not null constraint hub_listener_pkey primary key,
        tenant text not null,
        callback text not null,
        query text not null,
        created_at timestamptz not null,
        starts_after jsonb not null,
        state text not null default 'active',
        backlog bigint not null default 0,
        delivered bigint not null default 0,
        delivered_at timestamptz,
        failures integer not null default 0,
        pauses integer not null default 0,
        paused_until timestamptz,
        failing_since timestamptz,
        suspended_at timestamptz,
        error text,
        error_at timestamptz,
        missed bigint not null default 0,
        missed_since timestamptz,
        constraint hub_listener_state_check check (state in ('active', 'suspended')),
        constraint hub_listener_tenant_callback_query_key unique (tenant, callback, query)
    ) with (fillfactor = 50)""",
    """create table hub_delivery (
        listener_id text not null constraint hub_delivery_listener_id_fkey
            references hub_listener (listener_id) on delete cascade,
        order_id text not null,
        "offset" bigint not null,
        number integer not null,
        tenant text not null,
        event_id text not null,
        body bytea not null,
        created_at timestamptz not null,
        attempts integer not null default 0,
        next_at timestamptz,
        constraint hub_delivery_pkey primary key (listener_id, order_id, "offset", number)
    )""",
    "create index hub_delivery_due_idx on hub_delivery (listener_id, next_at) where next_at is not null",
)


def upgrade() -> None:
    """Create the tables."""
    for statement in _UP:
        op.execute(statement)


def downgrade() -> None:
    """Drop them."""
    op.execute("drop table hub_delivery, hub_listener, consumer_cursor, consumer")
