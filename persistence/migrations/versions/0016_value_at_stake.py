"""What orders are worth, beside their risk.

The release before does not know it: its predictor goes on writing scores, whose new column is then empty.
"""

from __future__ import annotations

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    op.execute("alter table delay_score add column value jsonb not null default '[]'")


def downgrade() -> None:
    """Drop it."""
    op.execute("alter table delay_score drop column value")
