"""All orders of an account by index, for its timeline.

The release before does not use it.
"""

from __future__ import annotations

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the index."""
    op.execute(
        "create index product_order_account_idx on product_order (tenant, account, created_at) "
        "where account is not null"
    )


def downgrade() -> None:
    """Drop it."""
    op.execute("drop index product_order_account_idx")
