"""The schema of the order database, as SQLAlchemy Core tables; Alembic migrations in `migrations/` create it.

Every row names its tenant. `fact` has one writer per shard, who only appends; what is old is moved to `fact_archive`.
`product_order`, `asset` and `manual_task` are read models written in the same transaction as the facts they follow
from. Claims, systems and releases have writers of their own.
"""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

metadata = sa.MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "ix": "%(table_name)s_%(column_0_N_name)s_idx",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
    }
)

_Instant = sa.DateTime(timezone=True)
# Reasons for each table: migration 0010.
_CHURNING: Final = {"autovacuum_vacuum_scale_factor": "0.02", "autovacuum_vacuum_threshold": "1000"}

setting = sa.Table(
    "setting",
    metadata,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("value", JSONB, nullable=False),
)

incarnation = sa.Table(
    "incarnation",
    metadata,
    sa.Column("incarnation_id", sa.Text, primary_key=True),
    sa.Column("epoch", sa.BigInteger, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("backend_pid", sa.Integer, nullable=False),
    sa.Column("backend_start", _Instant, nullable=False),
    sa.Column("started_at", _Instant, nullable=False),
    sa.Column("heartbeat_at", _Instant, nullable=False),
    sa.Column("commits", sa.BigInteger, nullable=False, server_default="0"),
    # The dedicated shard that the process was started for; null: an ordinary host.
    sa.Column("dedicated_shard", sa.Integer),
    sa.CheckConstraint("state in ('living', 'fenced', 'stopped')", name="incarnation_state_check"),
    # One update per tick of each host: leave room so that updates stay on the page.
    postgresql_with={"fillfactor": "20"},
)

shard = sa.Table(
    "shard",
    metadata,
    sa.Column("shard", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("incarnation_id", sa.Text),
    sa.Column("version", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("is_dedicated", sa.Boolean, nullable=False, server_default=sa.false()),
    # Of a dedicated shard: the open order that has it for itself.
    sa.Column("order_id", sa.Text),
)

release = sa.Table(
    "release",
    metadata,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("release_id", sa.Text, primary_key=True),
    sa.Column("sequence", sa.BigInteger, sa.Identity(always=True), nullable=False),
    sa.Column("body", JSONB, nullable=False),
    sa.Column("published_at", _Instant, nullable=False),
    # From when it counts; with a default, which the release before relies on.
    sa.Column("effective_at", _Instant, nullable=False, server_default=sa.func.now()),
    # Whether it does not count before that; if not, `effective_at` is only its place in the line.
    sa.Column("is_scheduled", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("retired_at", _Instant),
    sa.UniqueConstraint("sequence"),
    sa.Index(
        "release_line_idx", "tenant", "effective_at", "sequence", postgresql_where=sa.text("retired_at is null")
    ),
)

# What designers save beside releases: diagrams (canvases of plan definitions) and drafts (releases in the making).
design = sa.Table(
    "design",
    metadata,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("body", JSONB, nullable=False),
    sa.Column("created_at", _Instant, nullable=False),
    sa.Column("updated_at", _Instant, nullable=False),
    sa.Column("updated_by", sa.Text, nullable=False),
    sa.CheckConstraint("kind in ('diagram', 'draft')", name="design_kind_check"),
)

# Who published, scheduled, withdrew, retired a release, and took it back.
release_change = sa.Table(
    "release_change",
    metadata,
    sa.Column("change_id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("tenant", sa.Text, nullable=False),
    sa.Column("release_id", sa.Text, nullable=False),
    sa.Column("at", _Instant, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("body", JSONB, nullable=False),
    sa.Index("release_change_release_idx", "tenant", "release_id", "change_id"),
)

# Who has given a tenant another key to encrypt with.
key_change = sa.Table(
    "key_change",
    metadata,
    sa.Column("change_id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("tenant", sa.Text, nullable=False),
    sa.Column("key_id", sa.Text, nullable=False),
    sa.Column("at", _Instant, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.UniqueConstraint("tenant", "key_id", name="key_change_key"),
)

plan_template = sa.Table(
    "plan_template",
    metadata,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("template_id", sa.Text, primary_key=True),
    sa.Column("release_id", sa.Text, nullable=False),
    sa.Column("body", JSONB, nullable=False),
)


def _fact_columns() -> list[sa.Column[Any]]:
    """What a fact consists of, wherever it lies."""
    return [
        sa.Column("shard", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("offset", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("tenant", sa.Text, nullable=False),
        sa.Column("order_id", sa.Text, nullable=False),
        sa.Column("item", sa.Text),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("v", sa.SmallInteger, nullable=False),
        sa.Column("at", _Instant, nullable=False),
        sa.Column("release_id", sa.Text),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("cause", sa.Text),
        sa.Column("payload", JSONB),
    ]


fact = sa.Table(
    "fact",
    metadata,
    *_fact_columns(),
    sa.Index("fact_order_idx", "order_id", "offset"),
    postgresql_with={
        "autovacuum_vacuum_insert_scale_factor": "0.05",
        "autovacuum_vacuum_scale_factor": "0.05",
        "autovacuum_analyze_scale_factor": "0.05",
    },
)

# Facts of orders that ended long ago. A partition a month, in UTC; `persistence/archive.py` makes them.
fact_archive = sa.Table(
    "fact_archive",
    metadata,
    # Of the order.
    sa.Column("ended_at", _Instant, primary_key=True),
    *_fact_columns(),
    sa.Index("fact_archive_order_idx", "order_id", "offset"),
    postgresql_partition_by="range (ended_at)",
)

# By shard, the highest offset that was moved: whoever has read less far has missed something.
archive_mark = sa.Table(
    "archive_mark",
    metadata,
    sa.Column("shard", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("offset", sa.BigInteger, nullable=False),
)

product_order = sa.Table(
    "product_order",
    metadata,
    sa.Column("order_id", sa.Text, primary_key=True),
    sa.Column("tenant", sa.Text, nullable=False),
    sa.Column("shard", sa.Integer, nullable=False),
    sa.Column("account", sa.Text),
    sa.Column("channel", sa.Text, nullable=False),
    sa.Column("external_id", sa.Text),
    sa.Column("client_key", sa.Text),
    sa.Column("body_hash", sa.LargeBinary),
    sa.Column("release_id", sa.Text),
    sa.Column("priority", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("created_at", _Instant, nullable=False),
    sa.Column("requested_due_at", _Instant),
    sa.Column("ended_at", _Instant),
    sa.Column("active", sa.Boolean, nullable=False),
    sa.Column("timer_at", _Instant),
    sa.Column("fallout", sa.Integer, nullable=False),
    sa.Column("sealed", sa.Boolean, nullable=False),
    sa.Column("items", sa.Integer, nullable=False),
    # Whether its facts were moved to the archive. Not a host's to write: see ORDER_COLUMNS.
    sa.Column("archived", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Index(
        "product_order_client_key_key",
        "tenant",
        "client_key",
        unique=True,
        postgresql_where=sa.text("client_key is not null"),
    ),
    sa.Index("product_order_active_idx", "shard", postgresql_where=sa.text("active")),
    sa.Index("product_order_timer_idx", "shard", "timer_at", postgresql_where=sa.text("timer_at is not null")),
    # With the release: how many open orders are on each is counted from this index alone.
    sa.Index(
        "product_order_open_account_idx",
        "tenant",
        "account",
        postgresql_include=["release_id"],
        postgresql_where=sa.text("ended_at is null"),
    ),
    sa.Index("product_order_external_id_idx", "tenant", "external_id"),
    sa.Index(
        "product_order_account_idx",
        "tenant",
        "account",
        "created_at",
        "order_id",
        postgresql_where=sa.text("account is not null"),
    ),
    sa.Index(
        "product_order_account_end_idx",
        "tenant",
        "account",
        "ended_at",
        "order_id",
        postgresql_where=sa.text("account is not null and ended_at is not null"),
    ),
    sa.Index("product_order_list_idx", "tenant", "created_at", "order_id"),
    sa.Index(
        "product_order_due_idx",
        "tenant",
        "requested_due_at",
        "order_id",
        postgresql_where=sa.text("ended_at is null and requested_due_at is not null"),
    ),
    sa.Index("product_order_fallout_idx", "tenant", postgresql_where=sa.text("fallout > 0")),
    sa.Index("product_order_unshredded_idx", "shard", postgresql_where=sa.text("sealed and ended_at is not null")),
    sa.Index(
        "product_order_unarchived_idx",
        "tenant",
        "ended_at",
        postgresql_where=sa.text("ended_at is not null and not archived"),
    ),
    postgresql_with={"fillfactor": "70", **_CHURNING},
)

asset = sa.Table(
    "asset",
    metadata,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("asset_id", sa.Text, primary_key=True),
    sa.Column("shard", sa.Integer, nullable=False),
    sa.Column("account", sa.Text),
    sa.Column("product", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("body", JSONB, nullable=False),
    sa.Column("updated_at", _Instant, nullable=False),
    sa.Index("asset_account_time_idx", "tenant", "account", "updated_at", "asset_id"),
    sa.Index(
        "asset_attributes_idx",
        sa.literal_column("(body -> 'attributes')").label("attributes"),
        postgresql_using="gin",
        postgresql_ops={"attributes": "jsonb_path_ops"},
    ),
)

manual_task = sa.Table(
    "manual_task",
    metadata,
    sa.Column("task_id", sa.Text, primary_key=True),
    sa.Column("tenant", sa.Text, nullable=False),
    sa.Column("order_id", sa.Text, nullable=False),
    sa.Column("item", sa.Text, nullable=False),
    sa.Column("queue", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("priority", sa.SmallInteger, nullable=False),
    sa.Column("opened_at", _Instant, nullable=False),
    sa.Column("due_at", _Instant),
    sa.Column("closed_at", _Instant),
    sa.Column("body", JSONB, nullable=False),
    sa.Index(
        "manual_task_open_idx",
        "tenant",
        "queue",
        "priority",
        "opened_at",
        postgresql_where=sa.text("closed_at is null"),
    ),
    sa.Index("manual_task_order_idx", "order_id"),
    sa.Index("manual_task_account_idx", "tenant", sa.text("(body ->> 'account')"), "opened_at", "task_id"),
    sa.Index(
        "manual_task_account_end_idx",
        "tenant",
        sa.text("(body ->> 'account')"),
        "closed_at",
        "task_id",
        postgresql_where=sa.text("closed_at is not null"),
    ),
    sa.Index("manual_task_closed_idx", "tenant", "closed_at", postgresql_where=sa.text("closed_at is not null")),
    # The order of take-next, over all queues.
    sa.Index(
        "manual_task_next_idx",
        "tenant",
        "priority",
        "due_at",
        "opened_at",
        "task_id",
        postgresql_where=sa.text("closed_at is null"),
    ),
    postgresql_with=_CHURNING,
)

task_claim = sa.Table(
    "task_claim",
    metadata,
    sa.Column("task_id", sa.Text, primary_key=True),
    sa.Column("tenant", sa.Text, nullable=False),
    sa.Column("worker", sa.Text, nullable=False),
    sa.Column("claim_ends_at", _Instant, nullable=False),
    sa.Index("task_claim_end_idx", "tenant", "claim_ends_at"),
)

queue_member = sa.Table(
    "queue_member",
    metadata,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("queue", sa.Text, primary_key=True),
    sa.Column("worker", sa.Text, primary_key=True),
    sa.Column("added_at", _Instant, nullable=False),
    sa.Column("added_by", sa.Text, nullable=False),
)

worker = sa.Table(
    "worker",
    metadata,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("worker", sa.Text, primary_key=True),
    sa.Column("on_shift", sa.Boolean, nullable=False),
    # On shift until then; null: until somebody says otherwise.
    sa.Column("on_shift_until", _Instant),
    sa.Column("changed_at", _Instant, nullable=False),
    sa.Column("changed_by", sa.Text, nullable=False),
)

worker_skill = sa.Table(
    "worker_skill",
    metadata,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("worker", sa.Text, primary_key=True),
    sa.Column("skill", sa.Text, primary_key=True),
    sa.Column("level", sa.Integer, nullable=False),
    sa.Column("expires_at", _Instant),
)

# Append-only: who changed members, workers and skills, when, and to what.
people_change = sa.Table(
    "people_change",
    metadata,
    sa.Column("change_id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("tenant", sa.Text, nullable=False),
    sa.Column("at", _Instant, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("worker", sa.Text, nullable=False),
    sa.Column("queue", sa.Text),
    sa.Column("body", JSONB),
    sa.Index("people_change_worker_idx", "tenant", "worker", "change_id"),
    sa.Index(
        "people_change_queue_idx", "tenant", "queue", "change_id", postgresql_where=sa.text("queue is not null")
    ),
)

# Items that wait for related orders, written and struck in the ticks of the plans that wait.
related_wait = sa.Table(
    "related_wait",
    metadata,
    sa.Column("tenant", sa.Text, nullable=False),
    sa.Column("order_id", sa.Text, primary_key=True),
    sa.Column("item", sa.Text, primary_key=True),
    # The related order's id, or its external id at this channel.
    sa.Column("channel", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    # What is waited for there, and what waits for it here.
    sa.Column("ref", sa.Text, nullable=False),
    sa.Column("blocks", ARRAY(sa.Text), nullable=False),
    sa.Column("opened_at", _Instant, nullable=False),
    sa.Index("related_wait_name_idx", "tenant", "name"),
    postgresql_with=_CHURNING,
)

sealed_value = sa.Table(
    "sealed_value",
    metadata,
    sa.Column("order_id", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("tenant", sa.Text, nullable=False),
    sa.Column("key_id", sa.Text, nullable=False),
    sa.Column("ciphertext", sa.LargeBinary, nullable=False),
)

system = sa.Table(
    "system",
    metadata,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("code", sa.Text, primary_key=True),
    sa.Column("adapter", sa.Text, nullable=False),
    sa.Column("config", JSONB, nullable=False),
    sa.Column("concurrency", sa.Integer, nullable=False),
    sa.Column("updated_at", _Instant, nullable=False),
    # Null: no limit.
    sa.Column("rate_per_s", sa.Float),
    # Null: no circuit breaker.
    sa.Column("breaker_failures", sa.Integer, server_default="20"),
    sa.Column("breaker_pause_s", sa.Float, nullable=False, server_default="10"),
    sa.Column("drain_per_s", sa.Float, nullable=False, server_default="200"),
)

# What holds systems; several may hold one. Code `*` is every system, and a row with `is_held` false takes one out.
system_hold = sa.Table(
    "system_hold",
    metadata,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("code", sa.Text, primary_key=True),
    sa.Column("cause", sa.Text, primary_key=True),
    sa.Column("is_held", sa.Boolean, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("since", _Instant, nullable=False),
    # Of a circuit breaker: from when on one call is let through to try.
    sa.Column("probe_at", _Instant),
    sa.CheckConstraint("cause in ('pause', 'offline', 'breaker')", name="system_hold_cause_check"),
)

# Append-only: who has asked to see an encrypted value.
value_access = sa.Table(
    "value_access",
    metadata,
    sa.Column("access_id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("tenant", sa.Text, nullable=False),
    sa.Column("at", _Instant, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("asset_id", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Index("value_access_asset_idx", "tenant", "asset_id", "access_id"),
)

# Accounts that were erased on request, or are being erased; and who was refused it.
erasure = sa.Table(
    "erasure",
    metadata,
    sa.Column("erasure_id", sa.Text, primary_key=True),
    sa.Column("tenant", sa.Text, nullable=False),
    sa.Column("account", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("asked_at", _Instant, nullable=False),
    sa.Column("finished_at", _Instant),
    # Whether products that are not terminated go as well.
    sa.Column("with_products", sa.Boolean, nullable=False),
    sa.Column("order_ids", ARRAY(sa.Text), nullable=False),
    sa.Column("secret_ids", ARRAY(sa.Text), nullable=False),
    # What the certificate says besides (`persistence.erasures`).
    sa.Column("body", JSONB, nullable=False),
    sa.CheckConstraint("state in ('refused', 'begun', 'done')", name="erasure_state_check"),
    sa.Index("erasure_begun_key", "tenant", "account", unique=True, postgresql_where=sa.text("state = 'begun'")),
    sa.Index("erasure_list_idx", "tenant", "asked_at", "erasure_id"),
)

# Append-only: who changed a system, when, and to what.
system_change = sa.Table(
    "system_change",
    metadata,
    sa.Column("change_id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("tenant", sa.Text, nullable=False),
    sa.Column("code", sa.Text, nullable=False),
    sa.Column("at", _Instant, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("body", JSONB),
    sa.Index("system_change_code_idx", "tenant", "code", "change_id"),
)

# Items On Hold: written and struck by their plans' ticks, let go one after another by the people actor.
held_item = sa.Table(
    "held_item",
    metadata,
    sa.Column("tenant", sa.Text, nullable=False),
    sa.Column("system", sa.Text, nullable=False),
    sa.Column("order_id", sa.Text, primary_key=True),
    sa.Column("item", sa.Text, primary_key=True),
    sa.Column("shard", sa.Integer, nullable=False),
    sa.Column("cause", sa.Text, nullable=False),
    sa.Column("priority", sa.SmallInteger, nullable=False),
    sa.Column("ready_at", _Instant, nullable=False),
    sa.Column("held_at", _Instant, nullable=False),
    sa.Index("held_item_next_idx", "tenant", "system", "priority", "ready_at", "order_id", "item"),
    sa.Index("held_item_probe_idx", "tenant", "system", "held_at"),
    postgresql_with=_CHURNING,
)

fallout_item = sa.Table(
    "fallout_item",
    metadata,
    sa.Column("tenant", sa.Text, nullable=False),
    sa.Column("order_id", sa.Text, primary_key=True),
    sa.Column("item", sa.Text, primary_key=True),
    sa.Column("shard", sa.Integer, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("plan", sa.Text, nullable=False),
    sa.Column("system", sa.Text, nullable=False),
    sa.Column("queue", sa.Text),
    sa.Column("error_code", sa.Text, nullable=False),
    sa.Column("error", sa.Text, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("failed_at", _Instant, nullable=False),
    sa.Column("account", sa.Text),
    sa.Column("priority", sa.Text, nullable=False),
    # When it is tried again; null: it has failed for good.
    sa.Column("retry_at", _Instant),
    sa.Index("fallout_item_list_idx", "tenant", "failed_at", "order_id", "item"),
    sa.Index("fallout_item_group_idx", "tenant", "system", "error_code"),
    sa.Index("fallout_item_account_idx", "tenant", "account", "failed_at"),
    postgresql_with=_CHURNING,
)

job = sa.Table(
    "job",
    metadata,
    sa.Column("job_id", sa.Text, primary_key=True),
    sa.Column("tenant", sa.Text, nullable=False),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("operator", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("selection", JSONB, nullable=False),
    # Answer or payload, encrypted; gone when the job has ended. Of a campaign {}, until its key is destroyed.
    sa.Column("argument", JSONB),
    sa.Column("rate", sa.Double, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("total", sa.Integer, nullable=False),
    # Up to this number items may have been sent, whether or not their outcome is known.
    sa.Column("sent_to", sa.Integer, nullable=False, server_default="0"),
    sa.Column("created_at", _Instant, nullable=False),
    sa.Column("ended_at", _Instant),
    sa.Column("epoch", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("lease_ends_at", _Instant),
    sa.CheckConstraint("state in ('loading', 'running', 'paused', 'stopped', 'done')", name="job_state_check"),
    sa.Index("job_list_idx", "tenant", "created_at", "job_id"),
    sa.Index("job_running_idx", "created_at", postgresql_where=sa.text("state = 'running'")),
)

job_item = sa.Table(
    "job_item",
    metadata,
    sa.Column("job_id", sa.Text, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("tenant", sa.Text, nullable=False),
    sa.Column("order_id", sa.Text, nullable=False),
    sa.Column("item", sa.Text, nullable=False),
    sa.Column("outcome", sa.Text),
    sa.Column("code", sa.Text),
    sa.Column("reason", sa.Text),
    sa.Column("settled_at", _Instant),
    sa.CheckConstraint("outcome in ('done', 'refused', 'failed')", name="job_item_outcome_check"),
    sa.Index("job_item_outcome_idx", "job_id", "outcome", "number"),
)

# What a campaign is still to submit, under a key of the campaign; each line is gone when its outcome is known.
job_line = sa.Table(
    "job_line",
    metadata,
    sa.Column("job_id", sa.Text, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
)

# What people look for again, under a name of theirs; `query` is what the console puts into its filters.
saved_view = sa.Table(
    "saved_view",
    metadata,
    sa.Column("view_id", sa.Text, primary_key=True),
    sa.Column("tenant", sa.Text, nullable=False),
    sa.Column("desk", sa.Text, nullable=False),
    sa.Column("owner", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("is_shared", sa.Boolean, nullable=False),
    sa.Column("query", JSONB, nullable=False),
    sa.Column("changed_at", _Instant, nullable=False),
    sa.CheckConstraint("desk in ('orders', 'queues')", name="saved_view_desk_check"),
    sa.Index("saved_view_name_key", "tenant", "desk", "owner", "name", unique=True),
)

delay_score = sa.Table(
    "delay_score",
    metadata,
    sa.Column("order_id", sa.Text, primary_key=True),
    sa.Column("tenant", sa.Text, nullable=False),
    sa.Column("scored_at", _Instant, nullable=False),
    sa.Column("p_late", sa.Double, nullable=False),
    sa.Column("expected_at", _Instant, nullable=False),
    sa.Column("low_at", _Instant, nullable=False),
    sa.Column("high_at", _Instant, nullable=False),
    sa.Column("due_at", _Instant, nullable=False),
    sa.Column("due_basis", sa.Text, nullable=False),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("version", sa.Text, nullable=False),
    sa.Column("factors", JSONB, nullable=False),
    # Of the order; null while it is open. The last score before it stays.
    sa.Column("ended_at", _Instant),
    # What the list of risks is filtered by: the order's plan definitions; item definitions and systems in progress.
    sa.Column("plans", ARRAY(sa.Text), nullable=False, server_default="{}"),
    sa.Column("steps", ARRAY(sa.Text), nullable=False, server_default="{}"),
    sa.Column("systems", ARRAY(sa.Text), nullable=False, server_default="{}"),
    # What the order comes to: [{"kind", "currency", "period", "net", "gross"}].
    sa.Column("value", JSONB, nullable=False, server_default="[]"),
    # What a change of the order has made of the promise; null while it is `due_at`, which is the first one.
    sa.Column("current_due_at", _Instant),
    sa.Index(
        "delay_score_open_idx", "tenant", "p_late", "order_id", postgresql_where=sa.text("ended_at is null")
    ),
    sa.Index("delay_score_ended_idx", "ended_at", postgresql_where=sa.text("ended_at is not null")),
    postgresql_with={"fillfactor": "70"},
)

delay_history = sa.Table(
    "delay_history",
    metadata,
    sa.Column("order_id", sa.Text, primary_key=True),
    sa.Column("scored_at", _Instant, primary_key=True),
    sa.Column("tenant", sa.Text, nullable=False),
    sa.Column("p_late", sa.Double, nullable=False),
    sa.Column("expected_at", _Instant, nullable=False),
)

# Delay models; `document` is the artefact's canonical text, which `digest` is the SHA-256 of. Never changed but for the
# stage.
delay_model = sa.Table(
    "delay_model",
    metadata,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("form", sa.Text, nullable=False),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("signature", JSONB, nullable=False),
    sa.Column("document", sa.Text, nullable=False),
    sa.Column("stage", sa.Text, nullable=False),
    sa.Column("registered_at", _Instant, nullable=False),
    sa.Column("registered_by", sa.Text, nullable=False),
    sa.CheckConstraint("stage in ('registered', 'shadow', 'champion', 'retired')", name="delay_model_stage_check"),
    sa.Index("delay_model_champion_key", "tenant", unique=True, postgresql_where=sa.text("stage = 'champion'")),
)

# What became of them, append-only. `former`: the champion that was replaced, null for the built-in model.
delay_model_change = sa.Table(
    "delay_model_change",
    metadata,
    sa.Column("sequence", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("tenant", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("stage", sa.Text, nullable=False),
    sa.Column("former", sa.Text),
    sa.Column("at", _Instant, nullable=False),
    sa.Column("by", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("figures", JSONB),
    sa.Index("delay_model_change_tenant_idx", "tenant", "sequence"),
)

# What each model said at a tick of the order's allowed time (per cent), and what became true. Written by the predictor.
delay_tick = sa.Table(
    "delay_tick",
    metadata,
    sa.Column("order_id", sa.Text, primary_key=True),
    sa.Column("tick", sa.SmallInteger, primary_key=True, autoincrement=False),
    sa.Column("model", sa.Text, primary_key=True),
    sa.Column("tenant", sa.Text, nullable=False),
    sa.Column("scored_at", _Instant, nullable=False),
    sa.Column("p_late", sa.Double, nullable=False),
    sa.Column("due_at", _Instant, nullable=False),
    # Null until it is known: when the order has ended, or its due date is over.
    sa.Column("late", sa.Boolean),
    sa.Column("known_at", _Instant),
    sa.Index("delay_tick_known_idx", "tenant", "model", "known_at", postgresql_where=sa.text("late is not null")),
    sa.Index("delay_tick_open_idx", "tenant", "due_at", postgresql_where=sa.text("late is null")),
)

# A reader of the feed of facts: a second one that starts raises the epoch, and the first one's cursors stand still.
consumer = sa.Table(
    "consumer",
    metadata,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("consumer", sa.Text, primary_key=True),
    sa.Column("epoch", sa.BigInteger, nullable=False),
    postgresql_with={"fillfactor": "20"},
)

consumer_cursor = sa.Table(
    "consumer_cursor",
    metadata,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("consumer", sa.Text, primary_key=True),
    sa.Column("shard", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("offset", sa.BigInteger, nullable=False),
    postgresql_with={"fillfactor": "20"},
)

# How many facts of a kind there were in an hour (UTC); written by the counting consumer (`persistence/counting.py`).
fact_count = sa.Table(
    "fact_count",
    metadata,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("hour", _Instant, primary_key=True),
    sa.Column("kind", sa.Text, primary_key=True),
    # Empty where the fact has none, like `item`: the item's definition, `plan/item`.
    sa.Column("release_id", sa.Text, primary_key=True),
    sa.Column("item", sa.Text, primary_key=True),
    sa.Column("n", sa.BigInteger, nullable=False),
    postgresql_with={"fillfactor": "50", **_CHURNING},
)

# What orders came to, as far as managers count it; by the same consumer.
ended_order = sa.Table(
    "ended_order",
    metadata,
    sa.Column(
        "order_id",
        sa.Text,
        sa.ForeignKey("product_order.order_id", name="ended_order_order_id_fkey", ondelete="CASCADE"),
        primary_key=True,
    ),
    sa.Column("tenant", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("created_at", _Instant, nullable=False),
    sa.Column("ended_at", _Instant, nullable=False),
    # As it was accepted: the offerings of its lines, of lines without one the specifications.
    sa.Column("offers", ARRAY(sa.Text), nullable=False),
    # Whether nobody had to repair anything.
    sa.Column("is_right", sa.Boolean, nullable=False),
    sa.Index("ended_order_time_idx", "tenant", "ended_at", "order_id"),
)

hub_listener = sa.Table(
    "hub_listener",
    metadata,
    sa.Column("listener_id", sa.Text, primary_key=True),
    sa.Column("tenant", sa.Text, nullable=False),
    sa.Column("callback", sa.Text, nullable=False),
    sa.Column("query", sa.Text, nullable=False),
    sa.Column("created_at", _Instant, nullable=False),
    # By shard: the last fact before the registration.
    sa.Column("starts_after", JSONB, nullable=False),
    sa.Column("state", sa.Text, nullable=False, server_default="active"),
    sa.Column("backlog", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("delivered", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("delivered_at", _Instant),
    # Since the last delivery that went well.
    sa.Column("failures", sa.Integer, nullable=False, server_default="0"),
    sa.Column("pauses", sa.Integer, nullable=False, server_default="0"),
    sa.Column("paused_until", _Instant),
    sa.Column("failing_since", _Instant),
    sa.Column("suspended_at", _Instant),
    sa.Column("error", sa.Text),
    sa.Column("error_at", _Instant),
    # Events that found the backlog full.
    sa.Column("missed", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("missed_since", _Instant),
    sa.CheckConstraint("state in ('active', 'suspended')", name="hub_listener_state_check"),
    sa.UniqueConstraint("tenant", "callback", "query"),
    postgresql_with={"fillfactor": "50"},
)

hub_delivery = sa.Table(
    "hub_delivery",
    metadata,
    sa.Column(
        "listener_id",
        sa.Text,
        sa.ForeignKey(
            "hub_listener.listener_id", name="hub_delivery_listener_id_fkey", ondelete="CASCADE"
        ),
        primary_key=True,
    ),
    sa.Column("order_id", sa.Text, primary_key=True),
    sa.Column("offset", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("tenant", sa.Text, nullable=False),
    sa.Column("event_id", sa.Text, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Column("created_at", _Instant, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
    # Of the first event of its order that waits; null: it waits for the one before it.
    sa.Column("next_at", _Instant),
    sa.Index(
        "hub_delivery_due_idx", "listener_id", "next_at", postgresql_where=sa.text("next_at is not null")
    ),
    postgresql_with=_CHURNING,
)

key_metadata = sa.MetaData()
"""The key store: another database, so that the order database and its backups never hold a key."""

order_key = sa.Table(
    "order_key",
    key_metadata,
    sa.Column("key_id", sa.Text, primary_key=True),
    sa.Column("order_id", sa.Text, nullable=False, index=True),
    sa.Column("key", sa.LargeBinary, nullable=False),
    sa.Column("destroyed_at", sa.DateTime(timezone=True), index=True),
)
"""A destroyed key leaves its empty row for a while: a statement that comes late must not bring it back."""

tenant_key = sa.Table(
    "tenant_key",
    key_metadata,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("key_id", sa.Text, primary_key=True),
    sa.Column("key", sa.LargeBinary, nullable=False),
)

value_key = sa.Table(
    "value_key",
    key_metadata,
    sa.Column("secret_id", sa.Text, primary_key=True),
    # The order whose values it encrypts, or the import.
    sa.Column("owner", sa.Text, nullable=False, index=True),
    sa.Column("secret", sa.LargeBinary, nullable=False),
    sa.Column("destroyed_at", sa.DateTime(timezone=True), index=True),
)
"""Secrets that encrypted values are destroyed with; of one that was destroyed the row stays empty for a while."""

master_key = sa.Table(
    "master_key",
    key_metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("wrapped", sa.LargeBinary, nullable=False),
)
"""One row, where a key provider is named: what the other keys are wrapped under, wrapped by the provider."""

FACT_COLUMNS: Final = tuple(column.name for column in fact.columns)
ORDER_COLUMNS: Final = tuple(column.name for column in product_order.columns if column.server_default is None)
"""What a host writes (`persistence.rows.OrderRow`): what has a default is somebody else's."""
