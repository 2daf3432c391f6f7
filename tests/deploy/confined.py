"""Runs a program under the system call rules of a systemd unit: confined.py UNIT PROGRAM ARGUMENT…

SystemCallFilter, SystemCallErrorNumber=EPERM, NoNewPrivileges and MemoryDenyWriteExecute, as systemd 252 makes them of
the unit. The rest of a unit needs systemd as process 1.
"""
import os
import pathlib
import re
import subprocess
import sys

import seccomp

PROT_WRITE, PROT_EXEC = 2, 4


def sets_of_calls():
    """systemd's sets by name; the calls of a set within a set are in both."""
    listed = subprocess.run(["systemd-analyze", "syscall-filter"], capture_output=True, text=True, check=True).stdout
    sets, name = {}, ""
    for line in listed.splitlines():
        if line.startswith("@"):
            name = line.strip()
            sets[name] = set()
        elif line.startswith("    ") and name and not line.strip().startswith("#"):
            sets[name].add(line.strip())

    def calls(names):
        return {call for entry in names for call in (calls(sets[entry]) if entry.startswith("@") else [entry])}

    return {name: calls(names) for name, names in sets.items()}


def settings(unit, name):
    return re.findall(rf"^{name}=(.*)$", pathlib.Path(unit).read_text(), re.M)


def allowed_calls(unit):
    sets = sets_of_calls()
    allowed = sets["@default"]
    for setting in settings(unit, "SystemCallFilter"):
        named = {call for name in setting.lstrip("~").split() for call in sets.get(name, {name})}
        allowed = allowed - named if setting.startswith("~") else allowed | named
    return allowed


def make_filter(unit):
    rules = seccomp.SyscallFilter(seccomp.ERRNO(1))
    denies_code = settings(unit, "MemoryDenyWriteExecute") == ["yes"]
    both = PROT_WRITE | PROT_EXEC
    # What may be written may not run: each rule is one combination of the two bits that is allowed.
    allowed_bits = {"mmap": (0, PROT_WRITE, PROT_EXEC), "mprotect": (0, PROT_WRITE), "pkey_mprotect": (0, PROT_WRITE)}
    for call in sorted(allowed_calls(unit)):
        try:
            if denies_code and call in allowed_bits:
                for bits in allowed_bits[call]:
                    rules.add_rule(seccomp.ALLOW, call, seccomp.Arg(2, seccomp.MASKED_EQ, both, bits))
            else:
                rules.add_rule(seccomp.ALLOW, call)
        except (RuntimeError, OSError, ValueError):
            continue  # a call that this processor or this version of libseccomp does not have
    return rules


if __name__ == "__main__":
    make_filter(sys.argv[1]).load()
    os.execv(sys.argv[2], sys.argv[2:])
