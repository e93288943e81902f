"""What works on this machine, and how to get what does not."""

import importlib.util
import os
from dataclasses import dataclass

from auditor.errors import ToolError
from auditor.run.sandbox import bubblewrap, docker, groups, missing, seccomp


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    what: str
    state: str
    """`ok`; `weaker` and `absent`, which are no fault; `missing`."""
    detail: str = ""


def examine() -> list[Check]:
    """Everything that `auditor doctor` says."""
    sandboxes = [missing("bubblewrap"), missing("docker")]
    any_sandbox = None in sandboxes
    checks = [
        _sandbox("sandbox bubblewrap", sandboxes[0], any_sandbox, _bubblewrap_stops()),
        _sandbox("sandbox docker", sandboxes[1], True, _docker_stops()),
        Check("sandbox none", "weaker", "only limits: it stops nothing, and has to be asked for"),
    ]
    if sandboxes[0] is None:
        checks += _fences()
    checks += [
        _modules(
            "running submissions (extra `ml`)",
            *("torch", "sentencepiece", "google.protobuf", "constriction"),
        ),
        _modules("the service (extra `api`)", "fastapi", "dbos", "sqlalchemy", "alembic"),
    ]
    return checks


def _sandbox(what: str, reason: str | None, any_other: bool, stops: str) -> Check:
    if reason is None:
        return Check(what, "ok", stops)
    return Check(what, "absent" if any_other else "missing", reason)


def _bubblewrap_stops() -> str:
    return (
        "stops reading and writing outside the workspace, every network, other processes, staying "
        "on, and more than the limits"
    )


def _docker_stops() -> str:
    try:
        kernel = "on gVisor's kernel" if docker.runtime() == "runsc" else "on this kernel"
    except ToolError:
        return ""
    return f"the same {kernel}, from image {docker.image()}"


def _fences() -> list[Check]:
    """How far the default sandbox gets here."""
    here = bubblewrap.level()
    calls = seccomp.missing()
    counted = sorted(groups.parents())
    checks = [Check("  system calls", "weaker" if calls else "ok", calls or "filtered")]
    if os.geteuid() == 0:
        words = "a user of its own for every run"
        if not here.own_user:
            words = (
                "runs as root's own user inside: setpriv (util-linux) and user namespaces needed"
            )
        checks.append(Check("  user", "ok" if here.own_user else "weaker", words))
    if here.limits_processes or "pids" in counted:
        checks.append(Check("  processes", "ok", "limited by the kernel"))
    else:
        checks.append(Check("  processes", "weaker", "counted from outside, ten times a second"))
    if "memory" in counted:
        checks.append(Check("  memory of all processes", "ok", "limited by a control group"))
    else:
        words = "counted from outside, ten times a second; no control group can be made here"
        checks.append(Check("  memory of all processes", "weaker", words))
    if not here.no_user_namespaces:
        words = "bubblewrap 0.8 or newer would refuse them itself; the filter of calls does"
        checks.append(Check("  namespaces inside", "weaker", words))
    return checks


def _modules(what: str, *names: str) -> Check:
    absent = []
    for name in names:
        try:
            found = importlib.util.find_spec(name)
        except ModuleNotFoundError:
            found = None
        if found is None:
            absent.append(name)
    if absent:
        how = f"cannot import {', '.join(absent)}; pip install 'strict-prefix[ml,api]'"
        return Check(what, "missing", how)
    return Check(what, "ok")
