"""Every family over the wire: small random checkpoints in the published form, against what transformers computed for
them. They lie outside the repository; without them the test is skipped."""
import os
import pathlib
import sys
import unittest

import daemon
from daemon import ROOT, pb
from recorded_values import log_softmax, read_safetensors

GOLDENS = pathlib.Path(os.environ.get("LATENTD_GOLDENS", ROOT / "../shared")) / "goldens/family"
FAMILIES = ("v2_lite", "v2", "v3", "v31", "v31_e8m0", "moonlight", "k2", "glm4_moe_lite", "fp32")
MAX_LOGIT_ERROR = 2e-3  # of each logit (README of the goldens); a log-probability is a difference of two
TOP = 5


class Family:
    """One daemon with one family's checkpoint, and its recorded values."""

    def __init__(self, name):
        self.daemon = daemon.Daemon("--max-context-tokens", "384", "--kv-blocks", "16", model=GOLDENS / name)
        self.goldens = read_safetensors(GOLDENS / name / "goldens.safetensors")
        self.prompts = sorted(name[len("ids."):] for name in self.goldens if name.startswith("ids."))

    def ids(self, prompt):
        return list(self.goldens[f"ids.{prompt}"][1])

    def score(self, prompt):
        message = pb.ScoreRequest(token_ids=pb.TokenIds(ids=self.ids(prompt)), top_logprobs=TOP)
        return self.daemon.generation.Score(message, timeout=daemon.PATIENCE_SECONDS).positions

    def greedy(self, prompt, count):
        return self.daemon.once(pb.GenerateRequest(
            token_ids=pb.TokenIds(ids=self.ids(prompt)), sampling=pb.Sampling(temperature=0),
            stopping=pb.Stopping(max_tokens=count), output=pb.Output(token_ids=True))).token_ids


@unittest.skipUnless(GOLDENS.exists(), f"SKIPPED {GOLDENS} is not there; LATENTD_GOLDENS says where the goldens are")
class FamilyScoreTest(unittest.TestCase):
    def check_scores(self, family):
        """The largest difference of a log-probability, over all prompts and recorded positions."""
        worst = 0.0
        for prompt in family.prompts:
            ids = family.ids(prompt)
            if len(ids) < 2:
                continue
            positions = family.score(prompt)
            self.assertEqual([position.token_id for position in positions], ids[1:])
            (_, width), logits = family.goldens[f"logits.{prompt}"]
            for row, position in enumerate(family.goldens[f"rows.{prompt}"][1]):
                if position + 1 == len(ids):
                    continue
                expected = log_softmax(logits[row * width:(row + 1) * width])
                scored = positions[position]
                self.assertEqual(len(scored.top), TOP)
                best = sorted(expected, reverse=True)[:TOP]
                pairs = [(scored.logprob, expected[ids[position + 1]]), *zip((t.logprob for t in scored.top), best),
                         *((t.logprob, expected[t.token_id]) for t in scored.top)]
                worst = max(worst, *(abs(found - wanted) for found, wanted in pairs))
                if best[0] - best[1] > 2 * MAX_LOGIT_ERROR:
                    self.assertEqual(scored.top[0].token_id, expected.index(best[0]))
        return worst

    def test_scores_and_greedy_continuations_are_those_recorded(self):
        for name in FAMILIES:
            with self.subTest(name):
                family = Family(name)
                with family.daemon:
                    worst = self.check_scores(family)
                    print(f"{name}: worst difference of a log-probability {worst:.2e}", file=sys.stderr)
                    self.assertLess(worst, 2 * MAX_LOGIT_ERROR)
                    for prompt in family.prompts:
                        expected = list(family.goldens[f"greedy.{prompt}"][1])
                        self.assertEqual(family.greedy(prompt, len(expected)), expected, prompt)


if __name__ == "__main__":
    unittest.main(verbosity=2)
