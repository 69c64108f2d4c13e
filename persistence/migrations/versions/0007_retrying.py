"""The error queue also has the items that have failed and are tried again later.

The release before writes rows of items that failed for good only, which is what null says.
"""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    op.execute("alter table fallout_item add column retry_at timestamptz")


def downgrade() -> None:
    """Drop it."""
    op.execute("alter table fallout_item drop column retry_at")
