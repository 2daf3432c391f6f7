"""Over the wire against recorded values: what transformers computed for tiny-tales, both releases of its weights."""
import json
import math
import unittest

import daemon
from daemon import ROOT, pb
from recorded_values import log_softmax, read_safetensors

GOLDENS = ROOT / "tests/data/tiny-tales"
MAX_LOGIT_ERROR = 1e-4  # of each logit; a log-probability is a difference of two
CLOSE_MARGIN = 1e-3     # below it two correct engines may choose differently


class Recorded:
    @classmethod
    def setUpClass(cls):
        cls.daemon = cls.enterClassContext(daemon.Daemon(model=cls.model))
        cls.goldens = read_safetensors(GOLDENS / f"goldens-{cls.release}.safetensors")
        cls.prompts = sorted(name[len("ids."):] for name in cls.goldens if name.startswith("ids."))
        assert cls.prompts

    def score(self, ids, top_logprobs=0):
        message = pb.ScoreRequest(token_ids=pb.TokenIds(ids=ids), top_logprobs=top_logprobs)
        return self.daemon.generation.Score(message, timeout=daemon.PATIENCE_SECONDS)

    def test_log_probabilities_are_log_softmax_of_the_goldens(self):
        compared, worst = 0, 0.0
        for prompt in self.prompts:
            ids = list(self.goldens[f"ids.{prompt}"][1])
            (_, width), logits = self.goldens[f"logits.{prompt}"]
            if len(ids) < 2:
                continue
            result = self.score(ids, top_logprobs=2)
            self.assertEqual([position.token_id for position in result.positions], ids[1:])
            for row, position in enumerate(self.goldens[f"positions.{prompt}"][1]):
                if position + 1 >= len(ids):
                    continue
                expected = log_softmax(logits[row * width:(row + 1) * width])
                scored = result.positions[position]
                best = sorted(range(width), key=lambda token: (-expected[token], token))[:2]
                self.assertAlmostEqual(scored.logprob, expected[ids[position + 1]], delta=2 * MAX_LOGIT_ERROR)
                if expected[best[0]] - expected[best[1]] > CLOSE_MARGIN:
                    self.assertEqual(scored.top[0].token_id, best[0])
                self.assertAlmostEqual(scored.top[0].logprob, expected[best[0]], delta=2 * MAX_LOGIT_ERROR)
                worst = max(worst, abs(scored.logprob - expected[ids[position + 1]]))
                compared += 1
        print(f"{compared} log-probabilities of {len(self.prompts)} prompts, worst difference {worst:.2e}")
        self.assertGreater(compared, 100)

    def test_held_text_is_as_likely_as_recorded(self):
        held = json.loads((GOLDENS / f"goldens-{self.release}.json").read_text())["held_text"]
        total, tokens = 0.0, 0
        for document in held["documents"]:
            sum_nll = -math.fsum(position.logprob for position in self.score(document["ids"]).positions)
            self.assertAlmostEqual(sum_nll, document["nll"], delta=0.0006 + 1e-5 * len(document["ids"]))
            total, tokens = total + sum_nll, tokens + len(document["ids"]) - 1
        print(f"{self.release}: perplexity {math.exp(total / tokens):.4f} over {tokens} tokens")
        self.assertAlmostEqual(total / tokens, held["mean_nll"], delta=1e-5)

    def test_greedy_continuations_are_the_goldens(self):
        for prompt in self.prompts:
            expected = list(self.goldens[f"greedy.{prompt}"][1])
            margins = self.goldens[f"margins.{prompt}"][1]
            certain = next((i for i, margin in enumerate(margins) if margin < CLOSE_MARGIN), len(expected))
            ids = pb.TokenIds(ids=self.goldens[f"ids.{prompt}"][1])
            answer = self.daemon.once(pb.GenerateRequest(
                token_ids=ids, sampling=pb.Sampling(temperature=0), stopping=pb.Stopping(max_tokens=len(expected)),
                output=pb.Output(token_ids=True)))
            self.assertEqual(answer.token_ids[:certain], expected[:certain], prompt)
            if certain == len(expected) and expected[-1] == 1:
                self.assertEqual(answer.end.reason, pb.END_REASON_EOS)

    def test_generation_reports_the_log_probabilities_that_score_does(self):
        prompt = pb.TokenIds(ids=[0, 100, 200])
        answer = self.daemon.once(pb.GenerateRequest(
            token_ids=prompt, sampling=pb.Sampling(seed=7), stopping=pb.Stopping(max_tokens=16, ignore_eos=True),
            output=pb.Output(token_ids=True, logprobs=3)))
        entries = [entry for delta in answer.deltas for entry in delta.logprobs]
        result = self.score([0, 100, 200, *answer.token_ids], top_logprobs=3)
        scored = result.positions[2:]
        self.assertEqual([entry.token_id for entry in entries], answer.token_ids)
        self.assertEqual([entry.logprob for entry in entries], [entry.logprob for entry in scored])
        self.assertEqual([list(entry.top) for entry in entries], [list(entry.top) for entry in scored])


class Fp8Test(Recorded, unittest.TestCase):
    model, release = daemon.MODEL, "fp8"


class Bf16Test(Recorded, unittest.TestCase):
    """This folder has no tokenizer: token ids are served without one."""
    model, release = ROOT / "tests/data/tiny-tales-bf16", "bf16"


if __name__ == "__main__":
    unittest.main(verbosity=2)
