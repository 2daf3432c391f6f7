"""Control groups of a test's own, v1 and v2. They need root."""
import itertools
import os
import pathlib
import unittest

from daemon import wait_until

ROOT_GROUP = pathlib.Path("/sys/fs/cgroup")
numbers = itertools.count()


def memory_limit(num_bytes):
    """The limits of a Cgroup that may hold so much."""
    return {"v1": {"memory.limit_in_bytes": str(num_bytes)}, "v2": {"memory.max": str(num_bytes)}}


class Cgroup:
    """A control group of the test's own, as a context; skips the test where none can be made."""

    def __init__(self, controller, **limits):
        """`limits`: for v1 and v2 what is written into which files."""
        offered = ROOT_GROUP / "cgroup.controllers"
        is_v2 = offered.exists() and controller in offered.read_text().split()
        self.folder = (ROOT_GROUP if is_v2 else ROOT_GROUP / controller) / f"latentd-test-{os.getpid()}-{next(numbers)}"
        self.limits = limits["v2" if is_v2 else "v1"]

    def __enter__(self):
        try:
            self.folder.mkdir()
            for name, value in self.limits.items():
                (self.folder / name).write_text(value)
        except OSError as error:
            if self.folder.exists():
                self.folder.rmdir()
            raise unittest.SkipTest(f"no control group can be made here: {error}")
        return self

    def __exit__(self, *_):
        wait_until(lambda: not (self.folder / "cgroup.procs").read_text(), "the group is empty")
        self.folder.rmdir()

    @property
    def enter(self):
        """The beginning of a command that runs in the group."""
        return ["sh", "-c", f'echo $$ >{self.folder}/cgroup.procs && exec "$@"', "sh"]
