"""Campaigns: jobs that submit orders, and the lines that they have yet to submit.

The release before lists a campaign as a job of an action that it does not know, and may take it up: its items name no
order, so each of them would be refused. Campaigns are begun once every people actor is of this release.
"""

from __future__ import annotations

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Let jobs be loaded before they run, and make the table of lines."""
    op.execute("alter table job drop constraint job_state_check")
    op.execute(
        """
        alter table job add constraint job_state_check
            check (state in ('loading', 'running', 'paused', 'stopped', 'done'))
        """
    )
    op.execute(
        """
        create table job_line (
            job_id text not null,
            number integer not null,
            body bytea not null,
            constraint job_line_pkey primary key (job_id, number)
        )
        """
    )


def downgrade() -> None:
    """Without campaigns: those that are being loaded are stopped."""
    op.execute("update job set state = 'stopped', ended_at = now() where state = 'loading'")
    op.execute("alter table job drop constraint job_state_check")
    op.execute(
        """
        alter table job add constraint job_state_check check (state in ('running', 'paused', 'stopped', 'done'))
        """
    )
    op.execute("drop table job_line")
