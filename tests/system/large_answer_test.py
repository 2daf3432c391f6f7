"""A9, end to end: the log-probabilities of 16,000 tokens, 32 of the best ones at each, are more than gRPC's clients
take. They arrive where the client takes more, as latentctl does; else they are refused before any work. 2 s."""
import json
import pathlib
import shutil
import subprocess
import tempfile
import unittest

import daemon
from daemon import BIN, MODEL, pb
from transfers import failure

NUM_TOKENS, NUM_TOP = 16_000, 32
DEFAULT_LIMIT = 4 << 20
# As small as they get, with a context that holds so many tokens.
CONFIG = {"num_hidden_layers": 2, "hidden_size": 64, "intermediate_size": 64, "moe_intermediate_size": 16,
          "num_attention_heads": 1, "num_key_value_heads": 1, "kv_lora_rank": 32, "q_lora_rank": 32,
          "qk_nope_head_dim": 16, "v_head_dim": 16, "n_routed_experts": 4, "n_group": 1, "topk_group": 1,
          "num_experts_per_tok": 1, "num_nextn_predict_layers": 0, "max_position_embeddings": 20_000}


class LargeAnswerTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory(prefix="latentd-test-")))
        config = {**json.loads((MODEL / "config.json").read_text()), **CONFIG}
        config.pop("quantization_config")
        (folder / "config.json").write_text(json.dumps(config))
        model = folder / "model"
        subprocess.run([BIN / "latent-convert", "random", model, "--config", folder / "config.json"], check=True,
                       timeout=daemon.PATIENCE_SECONDS)
        for name in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(MODEL / name, model / name)
        cls.server = cls.enterClassContext(daemon.Daemon("--kv-blocks", "400", model=model))
        ids = [0, *(1000 + i % 3000 for i in range(NUM_TOKENS - 1))]
        cls.message = pb.ScoreRequest(token_ids=pb.TokenIds(ids=ids), top_logprobs=NUM_TOP)

    def test_client_that_says_nothing_is_told_before_any_work(self):
        computed = self.server.sum("prompt_tokens_total")
        details = failure(lambda: self.server.generation.Score(self.message))
        self.assertEqual((details.reason, details.metadata["limit"]), ("ANSWER_TOO_LARGE", str(DEFAULT_LIMIT)))
        self.assertEqual(self.server.sum("prompt_tokens_total"), computed)

    def test_latentctl_takes_any_size(self):
        ids = ",".join(map(str, self.message.token_ids.ids))
        done = subprocess.run([BIN / "latentctl", "score", "--server", self.server.address, "--top-logprobs",
                               str(NUM_TOP), "--ids", ids], capture_output=True, text=True,
                              timeout=daemon.PATIENCE_SECONDS, stdin=subprocess.DEVNULL)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        *positions, total = done.stdout.splitlines()
        self.assertEqual([int(line.split()[0]) for line in positions], list(self.message.token_ids.ids[1:]))
        self.assertEqual({len(line.split()) for line in positions}, {2 + 2 * NUM_TOP}, "ids and log-probabilities")
        self.assertRegex(total, rf"^sum -\d+\.\d+ over {NUM_TOKENS - 1} tokens, ")


if __name__ == "__main__":
    unittest.main(verbosity=2)
