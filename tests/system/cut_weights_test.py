"""Weights that are cut at 60 moments of their loading: the daemon ends with a line that names the file, or had read it
all. Never by a signal. 25 s."""
import collections
import json
import os
import pathlib
import random
import shutil
import subprocess
import tempfile
import unittest

import daemon
from daemon import BIN, MODEL, wait_until
from loading_daemon import LoadingDaemon, free_address, loaded_bytes

HELD = 30  # moments before the most part was read, however quick the machine is
FREE = 30
SEED = 12
CONFIG = {"num_hidden_layers": 4, "hidden_size": 1024, "intermediate_size": 8192, "moe_intermediate_size": 1024,
          "vocab_size": 32000, "num_nextn_predict_layers": 0}


def loaded_part(address):
    loaded = loaded_bytes(address)
    return loaded[0] / loaded[1] if loaded else -1


class CutWeightsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory(prefix="latentd-test-")))
        config = {**json.loads((MODEL / "config.json").read_text()), **CONFIG}
        config.pop("quantization_config")
        (cls.folder / "config.json").write_text(json.dumps(config))
        cls.whole = cls.folder / "whole"
        subprocess.run([BIN / "latent-convert", "random", cls.whole, "--config", cls.folder / "config.json",
                        "--dtype", "bf16"], check=True, timeout=600)
        cls.weights = cls.whole / "model.safetensors"
        cls.size = cls.weights.stat().st_size

        shutil.copy(cls.weights, cls.folder / "copy")

    def restore(self):
        """The bytes that were cut, from a file beside it."""
        left = self.weights.stat().st_size
        with open(self.folder / "copy", "rb") as copy, open(self.weights, "r+b") as weights:
            copy.seek(left)
            weights.seek(left)
            shutil.copyfileobj(copy, weights, 1 << 22)

    def test_before_it_is_read(self):
        """It waits with its first line of progress while all but the beginning of the file is cut off."""
        draw = random.Random(SEED)
        for _ in range(HELD):
            left = draw.randrange(self.size // 2)
            with self.subTest(left=left), LoadingDaemon(model=self.whole, expected_code=1) as server:
                os.truncate(self.weights, left)
                server.terminal.resume()
                server.end()
                line = server.output.rsplit("\r\x1b[K")[-1]
                self.assertRegex(line, r"\A[^\n]*model\.safetensors[^\n]*\n\Z")
            self.restore()

    def test_at_any_moment(self):
        print(f"seed {SEED}, {self.size / 1e6:.0f} MB")
        draw, ends = random.Random(SEED), collections.Counter()
        for moment in range(FREE):
            part = (moment - 1) / FREE  # the first one before anything is there
            left = draw.randrange(self.size)
            with self.subTest(part=part, left=left):
                ends[self.end_of_cut(part, left)] += 1
            self.restore()
        print(dict(ends))

    def end_of_cut(self, part, left):
        """How a daemon ends whose weights are cut to `left` bytes once this part of them is loaded."""
        address, port_file = free_address(), self.folder / "ports.json"
        process = subprocess.Popen([BIN / "latentd", "--model", self.whole, "--threads", "2", "--port-file", port_file,
                                    "--metrics-listen", address], stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
                                   text=True)
        wait_until(lambda: process.poll() is not None or loaded_part(address) >= part, "so much is loaded")
        os.truncate(self.weights, left)
        wait_until(lambda: port_file.exists() or process.poll() is not None, "it serves or exits")
        served = process.poll() is None
        if served:
            process.terminate()
        text = process.communicate(timeout=daemon.PATIENCE_SECONDS)[1]
        self.assertEqual(process.returncode, 0 if served else 1, text)
        if served:
            return "served"
        self.assertEqual(text.count("\n"), 1, text)
        self.assertIn("model.safetensors", text)
        return "refused"


if __name__ == "__main__":
    unittest.main(verbosity=2)
