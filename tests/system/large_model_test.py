"""A model of about 2 GB, shaped like DeepSeek-V2-Lite: loaded, served and let go within its size and 300 MB."""
import json
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

import daemon
from daemon import BIN, pb

# DeepSeek-V2-Lite with 6 of its 27 layers and 8 of its 64 experts; the largest matrix is the embedding.
CONFIG = {
    "model_type": "deepseek_v2", "vocab_size": 102400, "hidden_size": 2048, "intermediate_size": 10944,
    "moe_intermediate_size": 1408, "num_hidden_layers": 6, "first_k_dense_replace": 1, "moe_layer_freq": 1,
    "num_attention_heads": 16, "num_key_value_heads": 16, "q_lora_rank": None, "kv_lora_rank": 512,
    "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128, "n_routed_experts": 8,
    "n_shared_experts": 2, "num_experts_per_tok": 6, "n_group": 1, "topk_group": 1, "topk_method": "greedy",
    "scoring_func": "softmax", "norm_topk_prob": False, "routed_scaling_factor": 1.0, "rms_norm_eps": 1e-06,
    "max_position_embeddings": 163840, "rope_theta": 10000,
    "rope_scaling": {"type": "yarn", "factor": 40, "original_max_position_embeddings": 4096, "beta_fast": 32,
                     "beta_slow": 1, "mscale": 0.707, "mscale_all_dim": 0.707},
    "bos_token_id": 100000, "eos_token_id": 100001, "torch_dtype": "bfloat16"}
LEEWAY_BYTES = 300_000_000
CACHE_BYTES = 64 << 20  # of these, too


class LargeModelTest(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory(prefix="latentd-test-")))
        if shutil.disk_usage(self.folder).free < 6e9:
            self.skipTest(f"expected 6 GB free in {self.folder}")

    def status_bytes(self, server, field):
        status = pathlib.Path(f"/proc/{server.process.pid}/status").read_text()
        return int(re.search(rf"^{field}:\s+(\d+) kB$", status, re.M).group(1)) * 1024

    def check(self, dtype, *config_changes):
        config = self.folder / "config.json"
        config.write_text(json.dumps({**CONFIG, **dict(config_changes)}))
        model = self.folder / dtype
        subprocess.run([BIN / "latent-convert", "random", model, "--config", config, "--dtype", dtype], check=True,
                       timeout=600)
        size = sum(file.stat().st_size for file in model.glob("*.safetensors"))
        self.assertGreater(size, 1.8e9)
        self.assertLess(size, 2.6e9)
        with daemon.Daemon("--kv-bytes", str(CACHE_BYTES), model=model) as server:
            peak, resident = self.status_bytes(server, "VmHWM"), self.status_bytes(server, "VmRSS")
            message = pb.GenerateRequest(token_ids=pb.TokenIds(ids=[100000, 7, 4242]))
            message.stopping.max_tokens, message.sampling.temperature = 8, 0
            message.stopping.ignore_eos = True
            message.output.token_ids = True
            ids = server.once(message).token_ids
            self.assertEqual(len(ids), 8)
            self.assertEqual(server.once(message).token_ids, ids)
            peak_serving = self.status_bytes(server, "VmHWM")
            line = server.await_log(r"weights: [^\n]*").group()
        print(f"{dtype}: {size / 1e6:.0f} MB; peak {peak / 1e6:.0f} MB at the end of the load and "
              f"{peak_serving / 1e6:.0f} MB after serving, then {resident / 1e6:.0f} MB resident; {line}")
        shutil.rmtree(model)
        self.assertLess(peak_serving, size + LEEWAY_BYTES)
        self.assertLess(resident, size + LEEWAY_BYTES)
        self.assertGreater(resident, size * 0.9, "the weights are in memory of their own")

    def test_bf16(self):
        self.check("bf16")

    def test_fp8(self):
        self.check("fp8", ("num_hidden_layers", 8), ("n_routed_experts", 16))


if __name__ == "__main__":
    unittest.main(verbosity=2)
