"""The whole daemon with --device cuda, on the emulated GPU: what it streams, cancels and says of itself."""
import unittest

import daemon
from daemon import Daemon, pb, request, wait_until


def greedy(tokens):
    return request(max_tokens=tokens, sampling=pb.Sampling(temperature=0), output=pb.Output(token_ids=True))


class EmulatedGpuTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Daemon("--device", "cuda", "--max-rows", "4", "--max-context-tokens", "256")

    @classmethod
    def tearDownClass(cls):
        cls.server.__exit__(None, None, None)

    def fingerprint(self, server):
        return server.models.GetModel(daemon.models_pb2.GetModelRequest()).fingerprint

    def test_log_and_fingerprint_say_what_computes(self):
        self.server.await_log(r"info device: cuda:0 \(.*compute capability 9\.0")
        self.assertTrue(self.fingerprint(self.server).startswith("cuda/exact-1/"))
        self.assertIn("/kv-bf16/", self.fingerprint(self.server))
        self.assertIn("-a8/", self.fingerprint(self.server), "of FP8 weights a GPU multiplies codes")

    def test_a_cache_type_that_the_gpu_lacks_is_refused_with_those_it_has(self):
        refused = daemon.run("--model", daemon.MODEL, "--device", "cuda", "--kv-dtype", "fp32")
        self.assertEqual((refused.returncode, refused.stderr.count("\n")), (1, 1), refused.stderr)
        self.assertIn("kv-dtype: expected what cuda:0 stores with activations=fp8 (auto, bf16, fp8), found fp32\n",
                      refused.stderr)

    def test_activations_that_the_gpu_lacks_are_refused_with_those_it_has(self):
        refused = daemon.run("--model", daemon.MODEL, "--device", "cuda", "--activations", "bf16")
        self.assertEqual((refused.returncode, refused.stderr.count("\n")), (1, 1), refused.stderr)
        self.assertIn("activations: expected what cuda:0 computes with (auto, fp8, fp32), found bf16", refused.stderr)

    def test_greedy_text_is_that_of_the_cpu(self):
        with Daemon("--device", "cpu", "--activations", "fp8") as cpu:
            expected = cpu.once(greedy(10))
            self.assertNotEqual(self.fingerprint(cpu), self.fingerprint(self.server))
        answer = self.server.once(greedy(10))
        self.assertEqual((answer.text, answer.token_ids), (expected.text, expected.token_ids))

    def test_a_drawn_answer_repeats_alone_and_in_company(self):
        drawn = request(max_tokens=8, sampling=pb.Sampling(temperature=0.8, top_p=0.95),
                        output=pb.Output(token_ids=True))
        alone = self.server.once(drawn)
        company = [self.server.generation.Generate(greedy(12), timeout=daemon.PATIENCE_SECONDS) for _ in range(2)]
        together = self.server.once(drawn)
        for stream in company:
            self.assertEqual(len(daemon.Answer(stream).token_ids), 12)
        self.assertEqual((together.text, together.token_ids), (alone.text, alone.token_ids))

    def test_a_cancel_frees_its_blocks_and_hurts_nobody(self):
        expected = self.server.once(greedy(8))
        cancelled = self.server.generation.Generate(greedy(200), timeout=daemon.PATIENCE_SECONDS)
        while next(cancelled).WhichOneof("event") != "delta":
            pass
        beside = self.server.generation.Generate(greedy(8), timeout=daemon.PATIENCE_SECONDS)
        cancelled.cancel()
        self.assertEqual(daemon.Answer(beside).token_ids, expected.token_ids)
        wait_until(lambda: self.server.sum("kv_blocks", state="active") == 0, "every block is home")


if __name__ == "__main__":
    unittest.main()
