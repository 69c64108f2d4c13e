"""The first schema.

A migration must let the previous release keep running; this one has none before it. The tables are written out rather
than taken from `persistence.tables`, because a migration never changes once it has landed. The test
`test_the_migrations_give_the_schema_of_tables` holds the two equal.
"""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_STATEMENTS = (
    "create table setting (key text constraint setting_pkey primary key, value jsonb not null)",
    """create table incarnation (
        incarnation_id text constraint incarnation_pkey primary key,
        epoch bigint not null,
        state text not null constraint incarnation_state_check check (state in ('living', 'fenced', 'stopped')),
        backend_pid integer not null,
        backend_start timestamptz not null,
        started_at timestamptz not null,
        heartbeat_at timestamptz not null,
        commits bigint not null default 0
    ) with (fillfactor = 20)""",
    """create table shard (
        shard integer constraint shard_pkey primary key,
        incarnation_id text,
        version bigint not null default 0
    )""",
    """create table release (
        tenant text,
        release_id text,
        sequence bigint generated always as identity not null,
        body jsonb not null,
        published_at timestamptz not null,
        constraint release_pkey primary key (tenant, release_id),
        constraint release_sequence_key unique (sequence)
    )""",
    """create table plan_template (
        tenant text,
        template_id text,
        release_id text not null,
        body jsonb not null,
        constraint plan_template_pkey primary key (tenant, template_id)
    )""",
    """create table fact (
        shard integer,
        "offset" bigint,
        tenant text not null,
        order_id text not null,
        item text,
        kind text not null,
        v smallint not null,
        at timestamptz not null,
        release_id text,
        actor text not null,
        cause text,
        payload jsonb,
        constraint fact_pkey primary key (shard, "offset")
    )""",
    'create index fact_order_idx on fact (order_id, "offset")',
    """create table product_order (
        order_id text constraint product_order_pkey primary key,
        tenant text not null,
        shard integer not null,
        account text,
        channel text not null,
        external_id text,
        client_key text,
        body_hash bytea,
        release_id text,
        priority text not null,
        state text not null,
        created_at timestamptz not null,
        requested_due_at timestamptz,
        ended_at timestamptz,
        active boolean not null,
        timer_at timestamptz,
        fallout integer not null,
        sealed boolean not null,
        items integer not null
    ) with (fillfactor = 70)""",
    "create unique index product_order_client_key_key on product_order (tenant, client_key) "
    "where client_key is not null",
    "create index product_order_active_idx on product_order (shard) where active",
    "create index product_order_timer_idx on product_order (shard, timer_at) where timer_at is not null",
    "create index product_order_open_account_idx on product_order (tenant, account) where ended_at is null",
    "create index product_order_external_id_idx on product_order (tenant, external_id)",
    "create index product_order_list_idx on product_order (tenant, created_at, order_id)",
    "create index product_order_fallout_idx on product_order (tenant) where fallout > 0",
    "create index product_order_unshredded_idx on product_order (shard) where sealed and ended_at is not null",
    """create table asset (
        tenant text,
        asset_id text,
        shard integer not null,
        account text,
        product text not null,
        status text not null,
        body jsonb not null,
        updated_at timestamptz not null,
        constraint asset_pkey primary key (tenant, asset_id)
    )""",
    "create index asset_account_idx on asset (tenant, account)",
    """create table manual_task (
        task_id text constraint manual_task_pkey primary key,
        tenant text not null,
        order_id text not null,
        item text not null,
        queue text not null,
        name text not null,
        priority smallint not null,
        opened_at timestamptz not null,
        due_at timestamptz,
        closed_at timestamptz,
        body jsonb not null
    )""",
    "create index manual_task_open_idx on manual_task (tenant, queue, priority, opened_at) where closed_at is null",
    "create index manual_task_order_idx on manual_task (order_id)",
    """create table task_claim (
        task_id text constraint task_claim_pkey primary key,
        tenant text not null,
        worker text not null,
        claim_ends_at timestamptz not null
    )""",
    """create table sealed_value (
        order_id text,
        name text,
        tenant text not null,
        key_id text not null,
        ciphertext bytea not null,
        constraint sealed_value_pkey primary key (order_id, name)
    )""",
    """create table system (
        tenant text,
        code text,
        adapter text not null,
        config jsonb not null,
        concurrency integer not null,
        updated_at timestamptz not null,
        constraint system_pkey primary key (tenant, code)
    )""",
)


def upgrade() -> None:
    """Create everything."""
    for statement in _STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    """Drop everything; only for an empty database."""
    for table in (
        "system",
        "sealed_value",
        "task_claim",
        "manual_task",
        "asset",
        "product_order",
        "fact",
        "plan_template",
        "release",
        "shard",
        "incarnation",
        "setting",
    ):
        op.execute(f"drop table {table}")
