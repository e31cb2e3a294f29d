"""The tables: what happened, and which model serves.

Moments are seconds since 1970 in UTC by the database's clock, as doubles: the same on SQLite
and PostgreSQL, and compared inside conditional updates without conversion. JSON is text.
"""

import sqlalchemy as sa

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

#: Compared byte by byte on both databases, so that a range over a prefix finds what begins so.
Id = sa.String(64).with_variant(sa.String(64, collation="C"), "postgresql")
Digest = sa.String(64)
Name = sa.String(200)

environments = sa.Table(
    "environments",
    metadata,
    sa.Column("digest", Digest, primary_key=True),
    sa.Column("packages", sa.Text, nullable=False),  #: sorted "name==version" lines
)

runs = sa.Table(
    "runs",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("template", sa.Text, nullable=False),
    sa.Column("kind", sa.String(32), nullable=False, default=""),
    sa.Column("parameters", sa.Text, nullable=False),
    sa.Column("lineage", sa.Text, nullable=False),
    sa.Column("template_digest", Digest, nullable=False),
    sa.Column("environment_digest", Digest, nullable=False, default=""),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("reason", sa.Text, nullable=False, default=""),
    sa.Column("error", sa.Text),  #: CellError as JSON
    sa.Column("fence", sa.Integer, nullable=False, default=0),
    sa.Column("is_foreground", sa.Boolean, nullable=False, default=True),
    sa.Column("owner", Name),  #: host/pid/token of the supervisor that holds the lease
    sa.Column("lease_until", sa.Double),
    sa.Column("heartbeats", sa.Integer, nullable=False, default=0),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("started_at", sa.Double),
    sa.Column("finished_at", sa.Double),
    sa.Column("folder", sa.Text, nullable=False, default=""),
    sa.Column("notebook_digest", Digest, nullable=False, default=""),
    sa.Column("job_run", Id),
    sa.Column("step", sa.Text),
    # core.usage.Usage; NULL where nothing was measured
    sa.Column("cpu_seconds", sa.Double),
    sa.Column("peak_rss_bytes", sa.BigInteger),
    sa.Column("peak_gpu_bytes", sa.BigInteger),
    sa.CheckConstraint(
        "status IN ('queued', 'running', 'succeeded', 'failed', 'cancelled', 'lost')",
        name="status",
    ),
    # each answers one way of asking for the newest, in order, without a sort
    sa.Index(None, "created_at", "id"),
    sa.Index(None, "template", "created_at", "id"),
    sa.Index(None, "status", "created_at", "id"),
    sa.Index(None, "job_run", "created_at", "id"),
)

attempts = sa.Table(
    "attempts",
    metadata,
    sa.Column("run", Id, sa.ForeignKey("runs.id"), primary_key=True),
    sa.Column("fence", sa.Integer, primary_key=True),
    sa.Column("owner", Name, nullable=False),
    sa.Column("runner", Name, nullable=False),
    sa.Column("host", Name, nullable=False, default=""),
    sa.Column("pid", sa.Integer),  #: of the attempt process, to kill its tree on takeover
    sa.Column("pid_started", sa.Double),  #: create time of that pid: pids are used again
    sa.Column("devices", sa.Text, nullable=False, default="[]"),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("reason", sa.Text, nullable=False, default=""),
    sa.Column("started_at", sa.Double, nullable=False),
    sa.Column("finished_at", sa.Double),
)

scraps = sa.Table(
    "scraps",
    metadata,
    sa.Column("run", Id, sa.ForeignKey("runs.id"), primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("type", sa.String(16), nullable=False),
    sa.Column("encoder", sa.String(64), nullable=False),
    sa.Column("number", sa.Double),  #: the value again where it is a number: sorted, compared
    sa.Column("value", sa.Text, nullable=False),  #: JSON
    sa.Column("sidecar", sa.Text),  #: core.scraps.Sidecar as JSON
    sa.Index(None, "name", "number"),
)

artifacts = sa.Table(
    "artifacts",
    metadata,
    sa.Column("run", Id, sa.ForeignKey("runs.id"), primary_key=True),
    sa.Column("path", sa.Text, primary_key=True),  #: relative to the attempt's folder
    sa.Column("sha256", Digest, nullable=False),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Index(None, "sha256"),
)

gpu_leases = sa.Table(
    "gpu_leases",
    metadata,
    sa.Column("host", Name, primary_key=True),
    sa.Column("uuid", sa.String(64), primary_key=True),
    sa.Column("run", Id, nullable=False),
    sa.Column("fence", sa.Integer, nullable=False),
    sa.Column("lease_until", sa.Double, nullable=False),
    sa.Index(None, "run"),
)

job_runs = sa.Table(
    "job_runs",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("job", Name, nullable=False),
    sa.Column("number", sa.Integer, nullable=False),  #: counts the runs of this job from 1
    sa.Column("fire_time", sa.Double),  #: what a schedule owed; NULL when started by hand
    sa.Column("definition", sa.Text, nullable=False),  #: the job file's text
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("reason", sa.Text, nullable=False, default=""),
    sa.Column("owner", Name),
    sa.Column("lease_until", sa.Double),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("finished_at", sa.Double),
    sa.Column("report", sa.Text),  #: path of the rendered page
    sa.CheckConstraint(
        "status IN ('queued', 'running', 'succeeded', 'failed', 'blocked', 'cancelled')",
        name="status",
    ),
    sa.UniqueConstraint("job", "fire_time"),
    sa.UniqueConstraint("job", "number"),
    sa.Index(None, "created_at", "id"),
    sa.Index(None, "status"),
)

job_steps = sa.Table(
    "job_steps",
    metadata,
    sa.Column("job_run", Id, sa.ForeignKey("job_runs.id"), primary_key=True),
    sa.Column("step", sa.Text, primary_key=True),
    sa.Column("fan_out", sa.Integer, primary_key=True, default=0),
    sa.Column("position", sa.Integer, nullable=False),
    sa.Column("kind", sa.String(16), nullable=False),  #: run, promote, report
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("reason", sa.Text, nullable=False, default=""),
    sa.Column("run", Id),
    sa.Column("started_at", sa.Double),
    sa.Column("finished_at", sa.Double),
    sa.CheckConstraint(
        "status IN ('queued', 'running', 'succeeded', 'failed', 'blocked', 'cancelled', 'skipped')",
        name="status",
    ),
)

models = sa.Table(
    "models",
    metadata,
    sa.Column("name", Name, primary_key=True),
    sa.Column("description", sa.Text, nullable=False, default=""),
    sa.Column("last_version", sa.Integer, nullable=False, default=0),
    sa.Column("created_at", sa.Double, nullable=False),
)

versions = sa.Table(
    "versions",
    metadata,
    sa.Column("model", Name, sa.ForeignKey("models.name"), primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True),
    sa.Column("digest", Digest, nullable=False),
    sa.Column("manifest", sa.Text, nullable=False),  #: [{path, sha256, size_bytes}]
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("run", Id),
    sa.Column("lineage", sa.Text, nullable=False, default="{}"),
    sa.Column("scraps", sa.Text, nullable=False, default="{}"),
    sa.Column("source", sa.Text, nullable=False, default=""),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("created_by", Name, nullable=False, default=""),
    sa.UniqueConstraint("model", "digest"),  #: identical files are the same version
)

aliases = sa.Table(
    "aliases",
    metadata,
    sa.Column("model", Name, primary_key=True),
    sa.Column("alias", Name, primary_key=True),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("moved_at", sa.Double, nullable=False),
    sa.ForeignKeyConstraint(["model", "version"], ["versions.model", "versions.version"]),
)

#: Every movement and every refusal, for ever. Verdicts hang on it.
audit = sa.Table(
    "audit",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("at", sa.Double, nullable=False),
    sa.Column("actor", Name, nullable=False),
    sa.Column("action", sa.String(32), nullable=False),  #: register, promote, rollback, refuse
    sa.Column("model", Name, nullable=False),
    sa.Column("version", sa.Integer),
    sa.Column("alias", Name),
    sa.Column("former", sa.Integer),
    sa.Column("is_override", sa.Boolean, nullable=False, default=False),
    sa.Column("reason", sa.Text, nullable=False, default=""),
    sa.Column("evidence_run", Id),
    sa.Column("evaluation_digest", Digest, nullable=False, default=""),
    sa.Index(None, "model", "id"),
    sa.Index(None, "evaluation_digest"),
)

verdicts = sa.Table(
    "verdicts",
    metadata,
    sa.Column("audit", sa.Integer, sa.ForeignKey("audit.id"), primary_key=True),
    sa.Column("position", sa.Integer, primary_key=True),
    sa.Column("gate", sa.Text, nullable=False),
    sa.Column("outcome", sa.String(16), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("method", sa.Text, nullable=False, default=""),
    sa.Column("numbers", sa.Text, nullable=False, default="{}"),
)
