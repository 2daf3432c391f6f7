"""The tables of docs/ say what the daemon does: its knobs with defaults, its statuses. What README shows works. 3 s.
"""
import os
import re
import shutil
import subprocess
import unittest

import daemon
import readme


def claim(value, source):
    """What --print-config says of a knob, as the column of defaults writes it."""
    value = re.sub(r"\.0$", "", value.strip().strip("'"))
    _, decided, meaning = source.partition("decided at start: ")
    return f"{value}: {meaning}" if decided else value


class ReadmeTest(unittest.TestCase):
    def test_every_knob_stands_in_the_table_with_its_default(self):
        bare = {name: value for name, value in os.environ.items() if not name.startswith("LATENTD_")}
        run = subprocess.run([daemon.BIN / "latentd", "--print-config"], capture_output=True, text=True, env=bare)
        printed = {}
        for line in run.stdout.splitlines():
            name, rest = line.split(" = ", 1)
            printed[name.strip()] = claim(*rest.rsplit("  # ", 1))
        claimed = readme.knobs()
        self.assertEqual(sorted(claimed), sorted(printed))
        for name, default in printed.items():
            accepted = ("", "none", "off") if default == "" else (default,)
            said = claimed[name].split(":")[0] if default == "auto" else claimed[name]
            self.assertIn(said.replace("`", ""), accepted, name)

    def test_commands_by_hand_can_be_pasted(self):
        """In a network of their own, since they name ports; the daemon behind them ends with the shell."""
        inside = ["unshare", "--net", "sh", "-c"]
        if subprocess.run([*inside, "ip link set lo up"], capture_output=True).returncode != 0:
            self.skipTest("SKIPPED there may be no network namespaces here")
        block = readme.by_hand().replace("build/release/bin/", f"{daemon.BIN}/")
        self.assertIn("health --wait", block)
        if not shutil.which("curl"):
            block = block.replace("curl http", "#")
        bare = {name: value for name, value in os.environ.items() if not name.startswith("LATENTD_")}
        script = f"set -e; ip link set lo up; trap 'kill $!; wait $!' EXIT\n{block}"
        run = subprocess.run([*inside, script], capture_output=True, text=True, env=bare, cwd=daemon.ROOT,
                             stdin=subprocess.DEVNULL, timeout=daemon.PATIENCE_SECONDS)
        self.assertEqual(run.returncode, 0, run.stderr)
        for said in ("SERVING\n", "perplexity", "latentd_generated_tokens_total" if shutil.which("curl") else ""):
            self.assertIn(said, run.stdout)

    def test_statuses_are_those_that_have_a_series(self):
        with daemon.Daemon() as server:
            samples = server.metrics()
        series = {(code, reason) for code, reason in
                  re.findall(r'requests_finished_total\{[^}]*grpc_code="(\w+)",reason="(\w+)"', "\n".join(samples))
                  if code != "OK"}
        claimed = readme.statuses()
        self.assertEqual(len(claimed), len(set(claimed)), "a cause stands in the table twice")
        self.assertEqual(set(claimed), series)


if __name__ == "__main__":
    unittest.main(verbosity=2)
