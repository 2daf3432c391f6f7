"""Packed checkpoints: served from their mapping with the source's bytes, refused where they are stale or cut. And the
memory after a load: the weights' and 80 MB, packed or not."""
import json
import pathlib
import struct
import subprocess
import tempfile
import unittest

import daemon
from daemon import BIN, MODEL, request

OVERHEAD_BYTES = 80_000_000
PACKED = "model.latentpack"

# About 115 MB, FP8, in the shape of DeepSeek-V2-Lite.
CONFIG = {
    "model_type": "deepseek_v2", "vocab_size": 8000, "hidden_size": 1024, "intermediate_size": 2816,
    "moe_intermediate_size": 704, "num_hidden_layers": 3, "first_k_dense_replace": 1, "moe_layer_freq": 1,
    "num_attention_heads": 8, "num_key_value_heads": 8, "q_lora_rank": None, "kv_lora_rank": 512,
    "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128, "n_routed_experts": 12,
    "n_shared_experts": 2, "num_experts_per_tok": 4, "n_group": 1, "topk_group": 1, "topk_method": "greedy",
    "scoring_func": "softmax", "norm_topk_prob": False, "routed_scaling_factor": 1.0, "rms_norm_eps": 1e-06,
    "max_position_embeddings": 8192, "rope_theta": 10000, "bos_token_id": 0, "eos_token_id": 1}


def convert(*arguments):
    return subprocess.run([BIN / "latent-convert", *map(str, arguments)], capture_output=True, text=True, timeout=120)


class PackedModelTest(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory(prefix="latentd-packed-")))

    def pack(self, source, name="packed"):
        done = convert("pack", source, self.folder / name)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return self.folder / name

    def answer(self, model):
        with daemon.Daemon("--device", "cpu", model=model) as server:
            answer = server.once(request("The little fox", max_tokens=40))
            return answer.started.fingerprint, answer.text

    def test_answers_are_the_sources_bytes(self):
        packed = self.pack(MODEL)
        self.assertEqual(sorted(path.name for path in packed.iterdir() if "safetensors" in path.name), [])
        self.assertEqual(self.answer(packed), self.answer(MODEL))

    def assert_start_fails(self, model, *words):
        done = daemon.run("--model", str(model), "--device", "cpu")
        self.assertEqual((done.returncode, done.stderr.count("\n")), (1, 1), done.stderr)
        for word in words:
            self.assertIn(word, done.stderr)

    def test_what_is_no_packed_file_any_more_ends_the_start_in_a_line(self):
        file = self.pack(MODEL) / PACKED
        whole = file.read_bytes()
        file.write_bytes(whole[:12] + struct.pack("<I", 77) + whole[16:])
        self.assert_start_fails(file.parent, "layout 77", "pack the source again")
        file.write_bytes(whole[:-1])
        self.assert_start_fails(file.parent, "the file is cut")
        file.write_bytes(whole)
        config = file.parent / "config.json"
        config.write_text(config.read_text().replace("{", "{ ", 1))
        self.assert_start_fails(file.parent, "the config.json that it was packed with")

    def test_verify_reads_what_the_daemon_trusts(self):
        file = self.pack(MODEL) / PACKED
        self.assertEqual(convert("verify", file.parent).returncode, 0)
        changed = bytearray(file.read_bytes())
        changed[len(changed) // 2] ^= 1
        file.write_bytes(changed)
        done = convert("verify", file.parent)
        self.assertEqual(done.returncode, 1)
        self.assertIn("expected the bytes that were packed", done.stderr)

    def test_other_converters_ask_for_the_source(self):
        packed = self.pack(MODEL)
        for command in (["dequantize", packed, self.folder / "out"], ["merge", packed, self.folder / "out"],
                        ["pack", packed, self.folder / "out"]):
            done = convert(*command)
            self.assertEqual((done.returncode, done.stderr.count("\n")), (1, 1), done.stderr)
            self.assertIn("packed from", done.stderr)
            self.assertFalse((self.folder / "out").exists())

    def test_inspect_tells_what_is_in_it(self):
        reports = [convert("inspect", directory, "--json") for directory in (MODEL, self.pack(MODEL))]
        self.assertEqual([(report.returncode, report.stderr) for report in reports], [(0, "")] * 2)
        source, packed = (json.loads(report.stdout) for report in reports)
        self.assertEqual(packed["parameters"], source["parameters"])
        self.assertEqual(packed["memory"]["files"], 1)
        for report in (source, packed):
            self.assertTrue(report["drafting"]["possible"])
        kinds, found = ({(kind["kind"], kind["dtype"]): kind["tensors"] for kind in report["tensors"]}
                        for report in (source, packed))
        for kind in (("routed experts", "F8_E4M3"), ("shared experts", "F8_E4M3"), ("attention", "F8_E4M3"),
                     ("embedding", "BF16"), ("mtp layers", "F8_E4M3")):
            self.assertGreater(found[kind], 0)
            self.assertEqual(found[kind], kinds[kind], kind)

    def assert_resident_within_bound(self, model):
        weights = sum(path.stat().st_size for path in model.iterdir() if path.suffix in (".safetensors", ".latentpack"))
        with daemon.Daemon("--device", "cpu", model=model) as server:
            line = server.await_log(r"weights: [^\n]*")[0]
            resident = server.resident_bytes()
        print(f"{model.name}: {weights / 1e6:.0f} MB of weights, {(resident - weights) / 1e6:.0f} MB beside; {line}")
        self.assertLessEqual(resident, weights + OVERHEAD_BYTES)
        self.assertGreater(resident, weights, "a packed file is in memory as a whole, too")

    def test_memory_after_the_load_is_the_weights_and_80_mb(self):
        (self.folder / "config.json").write_text(json.dumps(CONFIG))
        random = self.folder / "random"
        done = convert("random", random, "--config", self.folder / "config.json", "--dtype", "fp8")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        for model in (MODEL, self.pack(MODEL), random, self.pack(random, "random-packed")):
            self.assert_resident_within_bound(model)


if __name__ == "__main__":
    unittest.main()
