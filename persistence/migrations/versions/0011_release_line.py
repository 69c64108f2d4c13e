"""The line of releases: from when each counts, which are retired, and who did that.

The release before knows no schedule: it gives new orders what was published last. Schedule and retire nothing until
every process is of this release. Building the index on `product_order` makes hosts wait with their commits meanwhile:
with very many open orders stop the cluster first.
"""

from __future__ import annotations

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_OPEN = "product_order_open_account_idx on product_order (tenant, account)"


def upgrade() -> None:
    """Give each release its place in the line, which is the one that it had."""
    # With defaults: the release before publishes without these columns.
    op.execute(
        "alter table release add column effective_at timestamptz not null default now(), "
        "add column is_scheduled boolean not null default false, add column retired_at timestamptz"
    )
    # Never before the one that was published earlier, whose gateway's clock may have been ahead.
    op.execute(
        """
        update release as r set effective_at = l.at
          from (select tenant, release_id, max(published_at) over (partition by tenant order by sequence) as at
                  from release) as l
         where l.tenant = r.tenant and l.release_id = r.release_id
        """
    )
    op.execute(
        "create index release_line_idx on release (tenant, effective_at, sequence) where retired_at is null"
    )
    op.execute(
        """
        create table release_change (
            change_id bigint generated always as identity constraint release_change_pkey primary key,
            tenant text not null,
            release_id text not null,
            at timestamptz not null,
            actor text not null,
            kind text not null,
            body jsonb not null
        )
        """
    )
    op.execute("create index release_change_release_idx on release_change (tenant, release_id, change_id)")
    # Counting the open orders of each release reads nothing else. The index that was there takes the release along
    # instead of a second one: it has to be kept up for every order anyway.
    op.execute("drop index product_order_open_account_idx")
    op.execute(f"create index {_OPEN} include (release_id) where ended_at is null")


def downgrade() -> None:
    """Forget the line; what is scheduled or retired would count again, so it is refused as long as anything is."""
    op.execute(
        """
        do $$ begin
            if exists (select from release where retired_at is not null or (is_scheduled and effective_at > now())) then
                raise exception 'a release is scheduled or retired: the release before would give it to new orders';
            end if;
        end $$
        """
    )
    op.execute("drop index product_order_open_account_idx")
    op.execute(f"create index {_OPEN} where ended_at is null")
    op.execute("drop table release_change")
    op.execute("alter table release drop column effective_at, drop column is_scheduled, drop column retired_at")
