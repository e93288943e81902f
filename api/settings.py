"""Everything that can be set, in one place; the environment names it STRICT_PREFIX_<NAME>."""

import os
from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from auditor.audit import Plan
from auditor.run.rooms import rooms_here

_PLAN = Plan()
"""The command's own limits: the same submission gets the same verdict here."""


_PREFIX = r"\s*(https?://[\w.-]+(:\d+)?/[^,\s]*|file:///[^,\s]+)\s*"
"""With a host or a folder: all of a protocol is no prefix."""


def _home() -> Path:
    """Where data belongs when nobody says otherwise (XDG base directories)."""
    base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base) / "strict-prefix"


class Settings(BaseSettings):
    """Settings of the service; the command's options come before the environment."""

    model_config = SettingsConfigDict(env_prefix="STRICT_PREFIX_", extra="forbid")

    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(
        default=8000, ge=0, le=65535, description="Port to listen on; 0 takes a free one."
    )
    hosts: str = Field(
        default="",
        description="Names that the service is reached by through a proxy, with commas between.",
    )
    public_reads: bool = Field(
        default=False,
        description="Let everybody read; what changes something needs a key.",
    )
    requests_per_minute: int = Field(
        default=600, gt=0, description="Requests a minute of one key, unless the key says its own."
    )
    audits_per_day: int = Field(
        default=1000,
        gt=0,
        description="Audits in 24 hours of one key, likewise.",
    )
    session_seconds: int = Field(
        default=12 * 3600, gt=0, description="How long a browser stays signed in."
    )
    callback_networks: str = Field(
        default="",
        description="Private networks that may be called back: 10.1.0.0/16,...",
    )
    signing_key: Path | None = Field(
        default=None,
        description="Private key (auditor keygen) that signs envelopes; without one they are bare.",
    )
    data: Path = Field(default_factory=_home, description="Folder of the databases and archives.")
    database: str = Field(
        default="",
        pattern=r"^(postgresql(\+psycopg)?://.+)?$",
        description="postgresql:// address; empty embeds SQLite in the data folder.",
    )
    blobs: str = Field(
        default="",
        pattern=r"^(s3://[a-z0-9.-]+(/[\w./-]*)?)?$",
        description="s3://BUCKET/PREFIX of the archives; empty keeps them in the data folder.",
    )
    max_upload_bytes: int = Field(
        default=64 * 2**20, gt=0, description="Largest archive that is taken, in bytes."
    )
    git_prefixes: str = Field(
        default="",
        pattern=rf"^({_PREFIX}(,{_PREFIX})*)?$",
        description="Repositories that may be fetched begin with one: https://github.com/NAME/,...",
    )
    git_seconds: float = Field(
        default=60.0, gt=0, description="Wall-clock limit of fetching a commit."
    )
    workers: int = Field(
        default=1, ge=0, description="Audits that execute in this process at the same time."
    )
    inspect_workers: int | None = Field(
        default=None,
        ge=0,
        description="Audits that only read, beside those; as many as workers unless said.",
    )
    lease_seconds: float = Field(
        default=10.0,
        gt=0,
        description="Silence after which a worker counts as lost and its audits are begun again.",
    )
    retry_seconds: float = Field(
        default=5.0,
        gt=0,
        description="Wait before a tool error is tried again; doubles each time.",
    )
    audit_seconds: float = Field(
        default=3600.0, gt=0, description="Wall-clock limit of one whole audit."
    )
    attempts: int = Field(
        default=3,
        ge=1,
        description="Starts of one audit before it ends as errored, restarts included.",
    )
    sandbox: Literal["bubblewrap", "docker", "none"] = Field(
        default="bubblewrap",
        description="What submissions run in; `none` only where you trust them.",
    )
    run_seconds: float = Field(
        default=_PLAN.run_seconds,
        gt=0,
        description="Wall-clock limit of one execution of a script.",
    )
    run_bytes: int = Field(
        default=_PLAN.run_bytes, ge=2**29, description="Memory limit of one execution of a script."
    )
    runs_together: int | None = Field(
        default=None,
        ge=1,
        description="Runs of one audit at the same time; unless said, cores and memory by workers.",
    )
    poll_seconds: float = Field(
        default=0.5,
        gt=0,
        description="How often the queue is looked at, and so how long a job waits.",
    )
    shutdown_seconds: int = Field(
        default=10,
        ge=1,
        description="How long a stop waits for requests, and then for running audits.",
    )

    @property
    def git_prefix_list(self) -> tuple[str, ...]:
        """The prefixes in `git_prefixes`."""
        return tuple(part.strip() for part in self.git_prefixes.split(",") if part.strip())

    @property
    def readers(self) -> int:
        """Audits that only read in this process at the same time."""
        return self.workers if self.inspect_workers is None else self.inspect_workers

    @property
    def together(self) -> int:
        """Runs of one audit at the same time."""
        return self.runs_together or max(1, rooms_here(self.run_bytes) // max(self.workers, 1))

    @property
    def host_names(self) -> tuple[str, ...]:
        """The names in `hosts`."""
        return tuple(name.strip().lower() for name in self.hosts.split(",") if name.strip())
