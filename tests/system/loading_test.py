"""How weights get into the daemon: what it shows meanwhile, what it says when a file breaks, where it may find them."""
import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

import daemon
import laws
from daemon import BIN, MODEL, ROOT, request, wait_until
from loading_daemon import LoadingDaemon, Terminal

GOLDENS = pathlib.Path(os.environ.get("LATENTD_GOLDENS", ROOT.parent / "shared"))


class LoadingTest(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory(prefix="latentd-test-")))
        self.model = self.folder / "model"

    def test_terminal_shows_progress_and_metrics_answer_meanwhile(self):
        with LoadingDaemon() as server:
            samples = server.metrics()
            self.assertEqual(samples['latentd_state{state="loading"}'], 1)
            self.assertEqual(laws.violations(samples), [])
            total = sum(samples[f'latentd_model_load_bytes{{state="{state}"}}'] for state in ("loaded", "pending"))
            self.assertGreater(total, 9_000_000)
            self.assertFalse(server.port_file.exists())
            server.resume()
            samples = server.metrics()
            self.assertEqual(samples['latentd_model_load_bytes{state="loaded"}'], total)
            self.assertEqual(samples['latentd_model_load_bytes{state="pending"}'], 0)
            server.process.terminate()
            self.assertEqual(server.end(), 0)
        first, *rest = server.output.split("\n")
        self.assertRegex(first, r"^\r\x1b\[Kweights: 0\.00 of 0\.01 GB \(\d+ %\), [\d.]+ GB/s, \d+ s left\r\x1b\[K")
        self.assertNotIn("\r", "".join(rest))
        self.assertEqual(server.output.count("weights: 0.01 GB in "), 1)

    def test_pipe_gets_one_line_of_the_log(self):
        with daemon.Daemon() as server:
            server.once(request(max_tokens=1))
            text = server.log_text()
        self.assertNotIn("\r", text)
        self.assertRegex(text, r" weights: 0\.01 GB in [\d.]+ s \([\d.]+ GB/s\)\n")
        self.assertEqual(text.count("weights: "), 1)

    def test_file_cut_during_the_load_is_one_line(self):
        for log_format, begin in ("text", "latentd: '"), ("json", '{"level":"critical","message":"'):
            with self.subTest(log_format=log_format):
                shutil.rmtree(self.model, ignore_errors=True)
                shutil.copytree(MODEL, self.model)
                weights = self.model / "model.safetensors"
                size = weights.stat().st_size
                with LoadingDaemon("--log-format", log_format, model=self.model, expected_code=1) as server:
                    os.truncate(weights, 100_000)
                    server.terminal.resume()
                    server.end()
                line = server.output.rsplit("\r\x1b[K")[-1]
                self.assertTrue(line.startswith(begin), line)
                self.assertIn(f"model.safetensors': expected {size} bytes as when it was opened, found 100000: the "
                              "file was cut while it was read; fetch it again", line)
                self.assertEqual(line.count("\n"), 1)

    def test_file_cut_while_it_is_converted_is_one_line(self):
        shutil.copytree(MODEL, self.model)
        terminal = Terminal()
        process = subprocess.Popen([BIN / "latent-convert", "merge", self.model, self.folder / "out"],
                                   stderr=terminal.slave)
        wait_until(lambda: any(file.stat().st_size > 0 for file in self.folder.glob(".out.*/model.safetensors")),
                   "it writes, and waits to say so")
        os.truncate(self.model / "model.safetensors", 100_000)
        terminal.resume()
        self.assertEqual(process.wait(daemon.PATIENCE_SECONDS), 1)
        line = terminal.close().rsplit("\r\x1b[K")[-1]
        self.assertRegex(line, r"^latent-convert: '.*model\.safetensors': expected \d+ bytes .*, found 100000: .*\n$")
        self.assertFalse((self.folder / "out").exists())


class CacheTest(unittest.TestCase):
    """Directories as Hugging Face's tools cache them: names that are links to blobs."""

    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory(prefix="latentd-test-")))

    def make_snapshot(self, repository="models--fairy-tales--tiny-tales"):
        shutil.rmtree(self.folder / repository, ignore_errors=True)
        blobs, snapshot = self.folder / repository / "blobs", self.folder / repository / "snapshots/0123456789abcdef"
        blobs.mkdir(parents=True)
        snapshot.mkdir(parents=True)
        for number, file in enumerate(sorted(MODEL.iterdir())):
            shutil.copyfile(file, blobs / f"{number:040x}")
            (snapshot / file.name).symlink_to(f"../../blobs/{number:040x}")
        return snapshot

    def test_links_are_followed_and_the_name_is_the_repository_s(self):
        names = {"models--fairy-tales--tiny-tales": "fairy-tales/tiny-tales", "models--tiny-tales": "tiny-tales"}
        for repository, name in names.items():
            with daemon.Daemon(model=self.make_snapshot(repository)) as server:
                description = server.models.GetModel(daemon.models_pb2.GetModelRequest())
                self.assertEqual(description.name, name)
                self.assertTrue(description.has_chat_template)
                answer = server.once(request())
                self.assertTrue(answer.text)
                self.assertEqual(server.once(request(model=name)).text, answer.text)

    def test_link_that_leads_nowhere_is_named(self):
        for name in ("config.json", "generation_config.json", "model.safetensors", "tokenizer.json",
                     "tokenizer_config.json"):
            with self.subTest(name=name):
                snapshot = self.make_snapshot()
                (snapshot / name).resolve().unlink()
                refused = daemon.run("--model", snapshot)
                self.assertEqual((refused.returncode, refused.stderr.count("\n")), (1, 1), refused.stderr)
                self.assertRegex(refused.stderr,
                                 f"^latentd: .*{name}.*: expected a .* file, found a symbolic link to ")


class SparseAttentionTest(unittest.TestCase):
    MODEL = GOLDENS / "goldens/family/v32"

    def setUp(self):
        if not self.MODEL.exists():
            print(f"SKIPPED {self.MODEL} is not there; LATENTD_GOLDENS says where the goldens are")
            self.skipTest("no goldens")

    def test_daemon_refuses_with_the_reason(self):
        refused = daemon.run("--model", self.MODEL)
        self.assertEqual((refused.returncode, refused.stderr),
                         (1, "latentd: deepseek_v32: expected attention to all positions, found sparse attention "
                             "(index_topk = 24), which is not implemented yet; serve a model without it\n"))

    def test_converter_verifies_and_inspects_it(self):
        run = subprocess.run([BIN / "latent-convert", "verify", self.MODEL], capture_output=True, text=True)
        self.assertEqual((run.returncode, run.stderr), (0, ""))
        self.assertRegex(run.stdout, r"^ok: \d+ bytes of tensors\n$")
        run = subprocess.run([BIN / "latent-convert", "inspect", self.MODEL], capture_output=True, text=True)
        self.assertEqual((run.returncode, run.stderr), (0, ""))
        self.assertIn("model_type=deepseek_v32", run.stdout)


if __name__ == "__main__":
    unittest.main(verbosity=2)
