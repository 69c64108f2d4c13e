"""The archive: facts of orders that ended long ago, by month.

The release before reads `fact` only. Nothing is moved until an administrator asks for it, which is done once every
process is of this release. Building the index on `product_order` makes hosts wait with their commits meanwhile, and
readers of orders too: with very many orders stop the cluster first.
"""

from __future__ import annotations

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_FACT = 'shard, "offset", tenant, order_id, item, kind, v, at, release_id, actor, cause, payload'
_CHURNING = ("product_order", "manual_task", "hub_delivery", "held_item", "fallout_item")


def upgrade() -> None:
    """Add the tables, mark what is moved, and have the hot tables vacuumed in time."""
    # Partitions are made by whoever moves the first facts of a month (persistence/archive.py).
    op.execute(
        """
        create table fact_archive (
            ended_at timestamptz not null,
            shard integer not null,
            "offset" bigint not null,
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
            constraint fact_archive_pkey primary key (ended_at, shard, "offset")
        ) partition by range (ended_at)
        """
    )
    op.execute('create index fact_archive_order_idx on fact_archive (order_id, "offset")')
    op.execute(
        'create table archive_mark (shard integer constraint archive_mark_pkey primary key, "offset" bigint not null)'
    )
    # With a default: hosts, those of the release before too, write their rows without it.
    op.execute("alter table product_order add column archived boolean not null default false")
    op.execute(
        "create index product_order_unarchived_idx on product_order (tenant, ended_at) "
        "where ended_at is not null and not archived"
    )

    # Written once, deleted in bulk. By the usual fifth, a table of a hundred million rows would wait for twenty million
    # new ones: until then its new pages are marked visible to nobody, so that scans of an index alone read the table
    # too, and later have to be frozen all at once; and the room that the archive has freed is not used again.
    op.execute(
        "alter table fact set (autovacuum_vacuum_insert_scale_factor = 0.05, autovacuum_vacuum_scale_factor = 0.05, "
        "autovacuum_analyze_scale_factor = 0.05)"
    )
    # What all five have in common: a small part of the rows is changed again and again and found by partial or small
    # indexes, in which a fifth of all rows may be dead before anybody cleans up. The threshold keeps a table of a few
    # rows from being vacuumed every minute.
    # product_order: several updates an order, then never again; takeovers and sweeps read the indexes of active orders.
    # manual_task: closed tasks stay; take-next walks the index of open ones in its order, over the dead ones too.
    # hub_delivery: every row is deleted once it is delivered; what is due is looked for several times a second.
    # held_item: after an outage all of its rows go, while the resumer reads the head of its index.
    # fallout_item: rows come with failures and go with repairs, and a bulk job reads and deletes them all.
    for table in _CHURNING:
        op.execute(
            f"alter table {table} set (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000)"
        )


def downgrade() -> None:
    """Move everything back; an archiver that is still at work waits, else what it moves meanwhile would be lost."""
    op.execute("lock table fact_archive, product_order in access exclusive mode")
    for table in _CHURNING:
        op.execute(f"alter table {table} reset (autovacuum_vacuum_scale_factor, autovacuum_vacuum_threshold)")
    op.execute(
        "alter table fact reset (autovacuum_vacuum_insert_scale_factor, autovacuum_vacuum_scale_factor, "
        "autovacuum_analyze_scale_factor)"
    )
    op.execute(f"insert into fact ({_FACT}) select {_FACT} from fact_archive")
    op.execute("drop table fact_archive, archive_mark")
    op.execute("drop index product_order_unarchived_idx")
    op.execute("alter table product_order drop column archived")
