"""What designers save beside releases: diagrams and drafts.

The release before does not know the table.
"""

from __future__ import annotations

from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    op.execute(
        """
        create table design (
            tenant text not null,
            kind text not null,
            name text not null,
            version integer not null,
            body jsonb not null,
            created_at timestamptz not null,
            updated_at timestamptz not null,
            updated_by text not null,
            constraint design_pkey primary key (tenant, kind, name),
            constraint design_kind_check check (kind in ('diagram', 'draft'))
        )
        """
    )


def downgrade() -> None:
    """Drop it."""
    op.execute("drop table design")
