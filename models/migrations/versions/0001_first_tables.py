"""The first tables: accounts, credentials, repositories, their manifests, pushes and events.

Types are written out, not taken from ``models``: a migration must do tomorrow what it does today.
"""

from typing import Any

import sqlalchemy as sa
from alembic.operations import Operations
from sqlalchemy.dialects import mysql, postgresql

revision = "0001"
down_revision = None

TIME = sa.DateTime(timezone=True).with_variant(mysql.DATETIME(fsp=6), "mysql")
# SQLite numbers rows by itself only for INTEGER.
BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
# Git sorts ref names byte by byte, and so must the primary key.
REF_NAME = sa.String(255).with_variant(postgresql.VARCHAR(255, collation="C"), "postgresql")
TABLE: dict[str, Any] = {
    "sqlite_autoincrement": True,
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
}


def upgrade(op: Operations) -> None:
    _create_accounts(op)
    _create_credentials(op)
    _create_repositories(op)
    _create_git_data(op)
    _create_pushes_and_events(op)


def downgrade(op: Operations) -> None:
    # Indexes go with their tables; MariaDB would refuse to drop one a foreign key still needs.
    for table in (
        "events",
        "ref_changes",
        "pushes",
        "pack_uploads",
        "git_packs",
        "git_refs",
        "ssh_keys",
        "access_token_repositories",
        "collaborators",
        "repository_redirects",
        "repositories",
        "access_tokens",
        "sessions",
        "email_addresses",
        "login_redirects",
        "users",
        "owners",
    ):
        op.drop_table(table)


def _create_accounts(op: Operations) -> None:
    op.create_table(
        "owners",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("login", sa.String(39), nullable=False),
        sa.Column("login_key", sa.String(39), nullable=False),
        sa.Column("name", sa.String(255)),
        sa.Column("bio", sa.String(1024)),
        sa.Column("updated_at", TIME, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_owners"),
        sa.UniqueConstraint("login_key", name="uq_owners_login_key"),
        **TABLE,
    )
    op.create_table(
        "users",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("password_hash", sa.String(255)),
        sa.Column("password_changed_at", TIME),
        sa.Column("is_site_admin", sa.Boolean(), nullable=False),
        sa.Column("suspended_at", TIME),
        sa.ForeignKeyConstraint(["id"], ["owners.id"], name="fk_users_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_users"),
        **TABLE,
    )
    op.create_table(
        "login_redirects",
        sa.Column("login_key", sa.String(39), nullable=False),
        sa.Column("owner_id", sa.Integer(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["owner_id"], ["owners.id"], name="fk_login_redirects_owner_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("login_key", name="pk_login_redirects"),
        **TABLE,
    )
    op.create_index("ix_login_redirects_owner_id", "login_redirects", ["owner_id"])


def _create_credentials(op: Operations) -> None:
    op.create_table(
        "email_addresses",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("email", sa.String(254), nullable=False),
        sa.Column("email_key", sa.String(254), nullable=False),
        sa.Column("verified_key", sa.String(254)),
        sa.Column("verified_at", TIME),
        sa.Column("primary_of", sa.Integer()),
        sa.Column("verification_hash", sa.String(64)),
        sa.Column("verification_sent_at", TIME),
        sa.Column("created_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name="fk_email_addresses_user_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_email_addresses"),
        sa.UniqueConstraint("primary_of", name="uq_email_addresses_primary_of"),
        sa.UniqueConstraint("user_id", "email_key", name="uq_email_addresses_user_id_email_key"),
        sa.UniqueConstraint("verification_hash", name="uq_email_addresses_verification_hash"),
        sa.UniqueConstraint("verified_key", name="uq_email_addresses_verified_key"),
        **TABLE,
    )
    op.create_index("ix_email_addresses_email_key", "email_addresses", ["email_key"])
    op.create_table(
        "sessions",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("token_hash", sa.String(64), nullable=False),
        sa.Column("user_agent", sa.String(512)),
        sa.Column("address", sa.String(64)),
        sa.Column("confirmed_at", TIME, nullable=False),
        sa.Column("last_seen_at", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.Column("revoked_at", TIME),
        sa.Column("created_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name="fk_sessions_user_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_sessions"),
        sa.UniqueConstraint("token_hash", name="uq_sessions_token_hash"),
        **TABLE,
    )
    op.create_index("ix_sessions_user_id", "sessions", ["user_id"])
    op.create_table(
        "access_tokens",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("token_hash", sa.String(64), nullable=False),
        sa.Column("token_last_eight", sa.String(8), nullable=False),
        sa.Column("scopes", sa.String(1024), nullable=False),
        sa.Column("all_repositories", sa.Boolean(), nullable=False),
        sa.Column("expires_at", TIME),
        sa.Column("last_used_at", TIME),
        sa.Column("revoked_at", TIME),
        sa.Column("created_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name="fk_access_tokens_user_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_access_tokens"),
        sa.UniqueConstraint("token_hash", name="uq_access_tokens_token_hash"),
        **TABLE,
    )
    op.create_index("ix_access_tokens_user_id", "access_tokens", ["user_id"])


def _create_repositories(op: Operations) -> None:
    op.create_table(
        "repositories",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("owner_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("name_key", sa.String(100), nullable=False),
        sa.Column("description", sa.String(1024)),
        sa.Column("visibility", sa.String(32), nullable=False),
        sa.Column("default_branch", sa.String(255), nullable=False),
        sa.Column("object_format", sa.String(16), nullable=False),
        sa.Column("archived_at", TIME),
        sa.Column("pushed_at", TIME),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("prune_epoch", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["owner_id"], ["owners.id"], name="fk_repositories_owner_id", ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_repositories"),
        sa.UniqueConstraint("owner_id", "name_key", name="uq_repositories_owner_id_name_key"),
        **TABLE,
    )
    op.create_table(
        "repository_redirects",
        sa.Column("owner_id", sa.Integer(), nullable=False),
        sa.Column("name_key", sa.String(100), nullable=False),
        sa.Column("repository_id", sa.Integer(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["owner_id"], ["owners.id"], name="fk_repository_redirects_owner_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["repository_id"],
            ["repositories.id"],
            name="fk_repository_redirects_repository_id",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("owner_id", "name_key", name="pk_repository_redirects"),
        **TABLE,
    )
    op.create_index(
        "ix_repository_redirects_repository_id", "repository_redirects", ["repository_id"]
    )
    op.create_table(
        "collaborators",
        sa.Column("repository_id", sa.Integer(), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["repository_id"],
            ["repositories.id"],
            name="fk_collaborators_repository_id",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name="fk_collaborators_user_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("repository_id", "user_id", name="pk_collaborators"),
        **TABLE,
    )
    op.create_index("ix_collaborators_user_id", "collaborators", ["user_id"])
    op.create_table(
        "access_token_repositories",
        sa.Column("access_token_id", sa.Integer(), nullable=False),
        sa.Column("repository_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["access_token_id"],
            ["access_tokens.id"],
            name="fk_access_token_repositories_access_token_id",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["repository_id"],
            ["repositories.id"],
            name="fk_access_token_repositories_repository_id",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint(
            "access_token_id", "repository_id", name="pk_access_token_repositories"
        ),
        **TABLE,
    )
    op.create_index(
        "ix_access_token_repositories_repository_id", "access_token_repositories", ["repository_id"]
    )
    op.create_table(
        "ssh_keys",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("user_id", sa.Integer()),
        sa.Column("repository_id", sa.Integer()),
        sa.Column("added_by_id", sa.Integer()),
        sa.Column("title", sa.String(255), nullable=False),
        sa.Column("public_key", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("read_only", sa.Boolean(), nullable=False),
        sa.Column("last_used_at", TIME),
        sa.Column("created_at", TIME, nullable=False),
        sa.CheckConstraint(
            "(user_id IS NULL) <> (repository_id IS NULL)", name=op.f("ck_ssh_keys_one_holder")
        ),
        sa.ForeignKeyConstraint(
            ["added_by_id"], ["users.id"], name="fk_ssh_keys_added_by_id", ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["repository_id"],
            ["repositories.id"],
            name="fk_ssh_keys_repository_id",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name="fk_ssh_keys_user_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_ssh_keys"),
        sa.UniqueConstraint("fingerprint", name="uq_ssh_keys_fingerprint"),
        **TABLE,
    )
    op.create_index("ix_ssh_keys_added_by_id", "ssh_keys", ["added_by_id"])
    op.create_index("ix_ssh_keys_repository_id", "ssh_keys", ["repository_id"])
    op.create_index("ix_ssh_keys_user_id", "ssh_keys", ["user_id"])


def _create_git_data(op: Operations) -> None:
    op.create_table(
        "git_refs",
        sa.Column("repository_id", sa.Integer(), nullable=False),
        sa.Column("name", REF_NAME, nullable=False),
        sa.Column("oid", sa.String(64)),
        sa.Column("peeled_oid", sa.String(64)),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["repository_id"],
            ["repositories.id"],
            name="fk_git_refs_repository_id",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("repository_id", "name", name="pk_git_refs"),
        **TABLE,
    )
    op.create_index(
        "ix_git_refs_repository_id_generation", "git_refs", ["repository_id", "generation"]
    )
    op.create_table(
        "git_packs",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("repository_id", sa.Integer(), nullable=False),
        sa.Column("storage_key", sa.String(255), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("index_size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("reverse_index_size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("object_count", sa.BigInteger(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["repository_id"],
            ["repositories.id"],
            name="fk_git_packs_repository_id",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name="pk_git_packs"),
        sa.UniqueConstraint("storage_key", name="uq_git_packs_storage_key"),
        **TABLE,
    )
    op.create_index("ix_git_packs_repository_id", "git_packs", ["repository_id"])
    op.create_table(
        "pack_uploads",
        sa.Column("storage_key", sa.String(255), nullable=False),
        sa.Column("repository_id", sa.Integer(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("storage_key", name="pk_pack_uploads"),
        **TABLE,
    )
    op.create_index("ix_pack_uploads_repository_id", "pack_uploads", ["repository_id"])


def _create_pushes_and_events(op: Operations) -> None:
    op.create_table(
        "pushes",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("key", sa.String(26), nullable=False),
        sa.Column("repository_id", sa.Integer(), nullable=False),
        sa.Column("pusher_id", sa.Integer()),
        sa.Column("ssh_key_id", sa.Integer()),
        sa.Column("access_token_id", sa.Integer()),
        sa.Column("door", sa.String(8), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["pusher_id"], ["users.id"], name="fk_pushes_pusher_id", ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["repository_id"],
            ["repositories.id"],
            name="fk_pushes_repository_id",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name="pk_pushes"),
        sa.UniqueConstraint("key", name="uq_pushes_key"),
        **TABLE,
    )
    op.create_index("ix_pushes_pusher_id", "pushes", ["pusher_id"])
    op.create_index("ix_pushes_repository_id", "pushes", ["repository_id"])
    op.create_table(
        "ref_changes",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("push_id", BIG_ID, nullable=False),
        sa.Column("ref_name", sa.String(255), nullable=False),
        sa.Column("old_oid", sa.String(64)),
        sa.Column("new_oid", sa.String(64)),
        sa.Column("forced", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["push_id"], ["pushes.id"], name="fk_ref_changes_push_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_ref_changes"),
        **TABLE,
    )
    op.create_index("ix_ref_changes_push_id", "ref_changes", ["push_id"])
    op.create_table(
        "events",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("actor_id", sa.Integer()),
        sa.Column("repository_id", sa.Integer()),
        sa.Column("payload", sa.JSON(), nullable=False),
        sa.Column("request_id", sa.String(64)),
        sa.Column("dispatched_at", TIME),
        sa.Column("created_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_events"),
        **TABLE,
    )
    op.create_index("ix_events_actor_id", "events", ["actor_id"])
    op.create_index("ix_events_dispatched_at", "events", ["dispatched_at"])
    op.create_index("ix_events_repository_id", "events", ["repository_id"])
