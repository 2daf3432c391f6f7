"""Formats of activations over the wire: what each costs in likelihood, and that the daemon says which is in force."""
import json
import math
import unittest

import daemon
from daemon import ROOT, pb

HELD = json.loads((ROOT / "tests/data/tiny-tales/goldens-fp8.json").read_text())["held_text"]  # of fp32 activations


class ActivationsTest:
    """What holds under each format."""

    @classmethod
    def setUpClass(cls):
        cls.server = cls.enterClassContext(
            daemon.Daemon("--device", "cpu", "--activations", cls.activations, "--admin-listen", "127.0.0.1:0"))

    def test_perplexity_is_close_to_that_of_fp32(self):
        total, tokens = 0.0, 0
        for document in HELD["documents"]:
            message = pb.ScoreRequest(token_ids=pb.TokenIds(ids=document["ids"]))
            positions = self.server.generation.Score(message, timeout=daemon.PATIENCE_SECONDS).positions
            total -= math.fsum(position.logprob for position in positions)
            tokens += len(positions)
        perplexity = math.exp(total / tokens)
        print(f"perplexity {perplexity:.4f} over {tokens} tokens, {HELD['perplexity']:.4f} with fp32 activations")
        self.assertNotAlmostEqual(total / tokens, HELD["mean_nll"], delta=1e-5, msg="the format changes something")
        self.assertLess(abs(perplexity / HELD["perplexity"] - 1), self.largest_cost)

    def test_an_answer_repeats_in_company(self):
        request = daemon.request(max_tokens=40, sampling=pb.Sampling(seed=3), output=pb.Output(token_ids=True))
        alone = self.server.once(request)
        company = [self.server.generation.Generate(daemon.request(max_tokens=60), timeout=daemon.PATIENCE_SECONDS)
                   for _ in range(5)]
        self.assertEqual(self.server.once(request).token_ids, alone.token_ids)
        for stream in company:
            self.assertTrue(daemon.Answer(stream).text)

    def test_the_format_in_force_is_told(self):
        fingerprint = self.server.models.GetModel(daemon.models_pb2.GetModelRequest()).fingerprint
        self.assertIn(self.fingerprint, fingerprint)
        knobs = {knob.name: knob.value for knob in
                 self.server.admin.GetConfig(daemon.admin_pb2.GetConfigRequest()).knobs}
        self.assertEqual((knobs["activations"], knobs["kv-dtype"]), (self.activations, self.kv_dtype))


class Bf16Test(ActivationsTest, unittest.TestCase):
    activations, kv_dtype, fingerprint, largest_cost = "bf16", "bf16", "/fp8_e4m3_block128-a16/kv-bf16/", 0.005


class Fp8Test(ActivationsTest, unittest.TestCase):
    activations, kv_dtype, fingerprint, largest_cost = "fp8", "fp32", "/fp8_e4m3_block128-a8/kv-f32/", 0.01


if __name__ == "__main__":
    unittest.main(verbosity=2)
