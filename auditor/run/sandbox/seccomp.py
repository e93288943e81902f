"""The system calls that no training script needs, refused by the kernel.

Only a fence behind the namespaces: it takes away the calls that break out of them or reach parts of
the kernel where faults are found most often.
"""

import functools
import os
import tempfile

REFUSED = (
    # other processes
    *("ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "pidfd_getfd", "kcmp"),
    # mounts and namespaces
    *("mount", "umount", "umount2", "pivot_root", "chroot", "move_mount", "open_tree", "fsopen"),
    *("fsconfig", "fsmount", "fspick", "mount_setattr", "unshare", "setns", "quotactl"),
    # keys, programs in the kernel, its faults and counters
    *("keyctl", "add_key", "request_key", "bpf", "userfaultfd", "perf_event_open"),
    *("io_uring_setup", "io_uring_enter", "io_uring_register", "lookup_dcookie", "syslog"),
    # the machine
    *("reboot", "kexec_load", "kexec_file_load", "init_module", "finit_module", "delete_module"),
    *("swapon", "swapoff", "acct", "settimeofday", "clock_settime", "clock_adjtime", "adjtimex"),
    *("iopl", "ioperm", "vhangup", "open_by_handle_at", "name_to_handle_at", "fanotify_init"),
)
FAMILIES = (1, 2, 10, 16)
"""Sockets that stay: unix, IPv4, IPv6, and netlink, by which gloo finds the loopback.

Above all not AF_VSOCK, which no network namespace holds and which reaches a machine's host.
"""
MAX_FAMILY = 64
NETLINK_ROUTE = 0
NEW_USER = 0x10000000
TIOCSTI = 0x5412


@functools.cache
def program() -> bytes:
    """The filter as the kernel takes it; OSError or ImportError when it cannot be built here."""
    import errno

    import pyseccomp as seccomp

    refuse = seccomp.ERRNO(errno.EPERM)
    rules = seccomp.SyscallFilter(seccomp.ALLOW)
    for name in REFUSED:
        _add(rules, refuse, name)
    _add(rules, refuse, "clone", seccomp.Arg(0, seccomp.MASKED_EQ, NEW_USER, NEW_USER))
    # Its flags lie in memory, where a filter cannot look; libraries fall back to clone.
    _add(rules, seccomp.ERRNO(errno.ENOSYS), "clone3")
    _add(rules, refuse, "ioctl", seccomp.Arg(1, seccomp.MASKED_EQ, 0xFFFFFFFF, TIOCSTI))
    no_family = seccomp.ERRNO(errno.EAFNOSUPPORT)
    for family in range(MAX_FAMILY):
        if family not in FAMILIES:
            _add(rules, no_family, "socket", seccomp.Arg(0, seccomp.EQ, family))
    _add(rules, no_family, "socket", seccomp.Arg(0, seccomp.GE, MAX_FAMILY))
    netlink = (seccomp.Arg(0, seccomp.EQ, 16), seccomp.Arg(2, seccomp.NE, NETLINK_ROUTE))
    _add(rules, no_family, "socket", *netlink)
    with tempfile.TemporaryFile() as file:
        rules.export_bpf(file)
        return os.pread(file.fileno(), 2**20, 0)


def missing() -> str | None:
    """Why there is no filter, with the remedy; None when there is one."""
    try:
        program()
    except ImportError:
        return (
            "no filter of system calls: pyseccomp or libseccomp cannot be loaded "
            "(pip install pyseccomp; Debian and Ubuntu: apt-get install libseccomp2)"
        )
    except OSError as error:
        return f"no filter of system calls: libseccomp cannot build it here ({error})"
    return None


def _add(rules: object, action: int, name: str, *conditions: object) -> None:
    """Add a rule, unless this machine has no such call."""
    import contextlib

    # libseccomp says EDOM for a call that another architecture has, EINVAL for an unknown name.
    with contextlib.suppress(OSError, ValueError):
        rules.add_rule(action, name, *conditions)  # type: ignore[attr-defined]  # untyped library
