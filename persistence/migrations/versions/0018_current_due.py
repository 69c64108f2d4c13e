"""What has become of an order's promise, beside the first one.

The release before does not know it: its predictor goes on writing scores, whose new column is then empty.
"""

from __future__ import annotations

from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    op.execute("alter table delay_score add column current_due_at timestamptz")


def downgrade() -> None:
    """Drop it."""
    op.execute("alter table delay_score drop column current_due_at")
