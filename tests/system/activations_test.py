"""FP8 activations over the wire: what they cost in likelihood, and that the fingerprint tells them apart."""
import json
import math
import unittest

import daemon
from daemon import ROOT, pb

HELD = json.loads((ROOT / "tests/data/tiny-tales/goldens-fp8.json").read_text())["held_text"]  # of weight-only


class Fp8ActivationsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = cls.enterClassContext(
            daemon.Daemon("--device", "cpu", "--fp8-activations", "dynamic", "--admin-listen", "127.0.0.1:0"))

    def test_perplexity_is_within_one_percent_of_weight_only(self):
        total, tokens = 0.0, 0
        for document in HELD["documents"]:
            message = pb.ScoreRequest(token_ids=pb.TokenIds(ids=document["ids"]))
            positions = self.server.generation.Score(message, timeout=daemon.PATIENCE_SECONDS).positions
            total -= math.fsum(position.logprob for position in positions)
            tokens += len(positions)
        perplexity = math.exp(total / tokens)
        print(f"perplexity {perplexity:.4f} over {tokens} tokens, {HELD['perplexity']:.4f} with weight-only")
        self.assertNotAlmostEqual(total / tokens, HELD["mean_nll"], delta=1e-5, msg="the mode changes something")
        self.assertLess(abs(perplexity / HELD["perplexity"] - 1), 0.01)

    def test_an_answer_repeats_in_company(self):
        request = daemon.request(max_tokens=40, sampling=pb.Sampling(seed=3), output=pb.Output(token_ids=True))
        alone = self.server.once(request)
        company = [self.server.generation.Generate(daemon.request(max_tokens=60), timeout=daemon.PATIENCE_SECONDS)
                   for _ in range(5)]
        self.assertEqual(self.server.once(request).token_ids, alone.token_ids)
        for stream in company:
            self.assertTrue(daemon.Answer(stream).text)

    def test_the_mode_in_force_is_told(self):
        fingerprint = self.server.models.GetModel(daemon.models_pb2.GetModelRequest()).fingerprint
        self.assertIn("/fp8_e4m3_block128-a8/", fingerprint)
        knobs = self.server.admin.GetConfig(daemon.admin_pb2.GetConfigRequest()).knobs
        self.assertEqual([knob.value for knob in knobs if knob.name == "fp8-activations"], ["dynamic"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
