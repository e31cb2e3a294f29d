"""What a run used: CPU time, memory, GPU memory. NULL for runs of before."""

import sqlalchemy as sa
from alembic import op

revision = "0002_usage"
down_revision = "0001_first"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add three columns to `runs`; neither database rewrites the table for that."""
    op.add_column("runs", sa.Column("cpu_seconds", sa.Double(), nullable=True))
    op.add_column("runs", sa.Column("peak_rss_bytes", sa.BigInteger(), nullable=True))
    op.add_column("runs", sa.Column("peak_gpu_bytes", sa.BigInteger(), nullable=True))
