"""The settings of repositories and git children; joined into one class by the application."""

from pathlib import Path

from pydantic import BaseModel, Field

MIB = 1024 * 1024
GIB = 1024 * MIB


class GitStoreSettings(BaseModel):
    """Flat names: ``cache_dir`` is read from ``OCH_CACHE_DIR``, and so on."""

    cache_dir: Path = Field(
        default=Path("data/cache"),
        description="Local copies of repositories; everything in it can be deleted at any moment.",
    )
    cache_max_bytes: int = Field(
        default=20 * GIB, ge=0, description="Least recently used copies go beyond this size."
    )
    clone_cache_max_bytes: int = Field(
        default=4 * GIB,
        ge=0,
        description="Room for answers to clones, beside the copies; 0 makes each clone anew.",
    )
    clone_cache_seconds: int = Field(
        default=6 * 3600, ge=1, description="An answer to a clone is made anew after this."
    )
    push_max_bytes: int = Field(
        default=4 * GIB, ge=1, description="Largest pack that one push may send."
    )
    push_max_refs: int = Field(
        default=50_000, ge=1, description="Most refs that one push may change."
    )
    upload_intent_seconds: int = Field(
        default=24 * 3600, ge=60, description="An upload unfinished for this long is swept."
    )
    max_packs: int = Field(
        default=20, ge=2, description="A repository with more packs has its small ones rolled up."
    )
    derived_min_objects: int = Field(
        default=2000,
        ge=1,
        description="From this many objects on a repository gets bitmap and commit-graph.",
    )
    prune_days: int = Field(
        default=14,
        ge=0,
        description="Objects that a push left unreachable are dropped after this; 0: never.",
    )
    retired_seconds: int = Field(
        default=3600, ge=60, description="Replaced packs stay in the object store for this long."
    )
    git_data_bytes: int = Field(
        default=2 * GIB, ge=64 * MIB, description="Heap of one git child (RLIMIT_DATA)."
    )
    git_cpu_seconds: int = Field(default=3600, ge=1, description="CPU time of one git child.")
    git_queue_seconds: int = Field(
        default=120, ge=1, description="How long a request waits for its git child to be started."
    )
    git_wall_seconds: int = Field(default=3600, ge=1, description="Wall clock of one git child.")
    git_threads: int = Field(default=2, ge=1, description="Threads of one index-pack or packing.")
    git_small_children: int = Field(
        default=32, ge=1, description="How many short git children run at once."
    )
    git_large_children: int = Field(
        default=8, ge=1, description="How many clones and incoming packs run at once."
    )
    git_readers: int = Field(
        default=16, ge=1, description="How many git children that read objects are kept at once."
    )
