"""latent-convert on both releases of tiny-tales: what it writes, checked byte by byte here and served by the daemon."""
import json
import math
import pathlib
import re
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "server"))
import daemon  # noqa: E402
from daemon import BIN, MODEL, ROOT, pb  # noqa: E402

BF16_MODEL = ROOT / "tests/data/tiny-tales-bf16"
HELD_TEXT = ROOT / "tests/data/tiny-tales/goldens-bf16.json"


def run(*arguments):
    return subprocess.run([BIN / "latent-convert", *map(str, arguments)], capture_output=True, text=True, timeout=120)


def read_tensors(folder):
    """{name: (dtype, shape, bytes)} of every safetensors file in the folder."""
    tensors = {}
    for path in sorted(folder.glob("*.safetensors")):
        content = path.read_bytes()
        start = 8 + int.from_bytes(content[:8], "little")
        for name, entry in json.loads(content[8:start]).items():
            if name == "__metadata__":
                continue
            assert name not in tensors, name
            first, last = entry["data_offsets"]
            tensors[name] = (entry["dtype"], entry["shape"], content[start + first:start + last])
    return tensors


def decode_e4m3(code):
    sign, exponent, fraction = -1.0 if code & 0x80 else 1.0, code >> 3 & 15, code & 7
    return sign * (fraction / 512 if exponent == 0 else (1 + fraction / 8) * 2.0 ** (exponent - 7))


DECODED = [decode_e4m3(code) for code in range(256)]


def as_fp32(value):
    return struct.unpack("<f", struct.pack("<f", value))[0]


def bf16_bits(value):
    """Nearest, ties to even."""
    bits = struct.unpack("<I", struct.pack("<f", value))[0]
    return (bits + 0x7FFF + (bits >> 16 & 1)) >> 16


def decoded_rows(tensors, name):
    """The fp32 values of an FP8 weight, by the format's definition."""
    _, (rows, columns), codes = tensors[name]
    _, (_, blocks), scale_bytes = tensors[name + "_scale_inv"]
    scales = struct.unpack(f"<{len(scale_bytes) // 4}f", scale_bytes)
    for row in range(rows):
        for column in range(columns):
            scale = scales[row // 128 * blocks + column // 128]
            yield as_fp32(DECODED[codes[row * columns + column]] * scale)


def bf16_values(content):
    return [struct.unpack("<f", struct.pack("<I", bits << 16))[0] for (bits,) in struct.iter_unpack("<H", content)]


def decoded_int4(tensors, name):
    """The values of an INT4 weight, row by row, by the definition of compressed-tensors' pack-quantized."""
    dtype, (rows, words), content = tensors[name + "_packed"]
    scale_type, (_, groups), scale_bytes = tensors[name + "_scale"]
    shape_type, shape, shape_bytes = tensors[name + "_shape"]
    assert (dtype, scale_type, shape_type, shape) == ("I32", "BF16", "I64", [2])
    width = struct.unpack("<2q", shape_bytes)[1]
    scales = bf16_values(scale_bytes)
    for row in range(rows):
        packed = struct.unpack_from(f"<{words}I", content, row * words * 4)
        for column in range(width):
            code = (packed[column // 8] >> 4 * (column % 8) & 15) - 8
            yield code * scales[row * groups + column // 32]


class Conversion(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory(prefix="latent-convert-")))

    def convert(self, *arguments):
        result = run(*arguments)
        self.assertEqual((result.returncode, result.stderr), (0, ""), arguments)

    def assert_fails(self, result, code, *words):
        self.assertEqual(result.returncode, code, result.stderr)
        self.assertEqual(result.stderr.count("\n"), 1, result.stderr)
        for word in words:
            self.assertIn(word, result.stderr)

    def assert_valid(self, folder):
        result = run("verify", folder)
        self.assertEqual(result.returncode, 0, result.stderr)

    def test_quantize_stores_what_the_format_says(self):
        self.convert("quantize", BF16_MODEL, self.folder / "fp8")
        self.assert_valid(self.folder / "fp8")
        before, after = read_tensors(BF16_MODEL), read_tensors(self.folder / "fp8")
        quantized = {name for name, (dtype, *_) in after.items() if dtype == "F8_E4M3"}
        released = {name for name, (dtype, *_) in read_tensors(MODEL).items() if dtype == "F8_E4M3"}
        self.assertEqual(quantized, released)
        for name in before.keys() - quantized:
            self.assertEqual(after[name], before[name], name)
        name = "model.layers.0.self_attn.kv_b_proj.weight"
        originals = struct.unpack(f"<{len(before[name][2]) // 2}H", before[name][2])
        largest = max(abs(value) for value in decoded_rows(after, name))
        for bits, value in zip(originals, decoded_rows(after, name)):
            original = struct.unpack("<f", struct.pack("<I", bits << 16))[0]
            self.assertLessEqual(abs(value - original), max(abs(original) / 16, largest / 448 / 512) * 1.001)
        config = json.loads((self.folder / "fp8/config.json").read_text())
        self.assertEqual(config["quantization_config"],
                         json.loads((MODEL / "config.json").read_text())["quantization_config"])

    def test_ue8m0_scales_are_powers_of_two(self):
        self.convert("quantize", BF16_MODEL, self.folder / "fp8", "--scale-format", "ue8m0")
        self.assert_valid(self.folder / "fp8")
        for name, (dtype, _, content) in read_tensors(self.folder / "fp8").items():
            if name.endswith("_scale_inv"):
                self.assertEqual(dtype, "F32")
                fractions = {math.frexp(scale)[0] for (scale,) in struct.iter_unpack("<f", content)}
                self.assertEqual(fractions, {0.5}, name)
        config = json.loads((self.folder / "fp8/config.json").read_text())
        self.assertEqual(config["quantization_config"]["scale_fmt"], "ue8m0")

    def test_dequantize_rounds_the_decoded_values_once(self):
        self.convert("dequantize", MODEL, self.folder / "bf16")
        self.assert_valid(self.folder / "bf16")
        before, after = read_tensors(MODEL), read_tensors(self.folder / "bf16")
        self.assertEqual(set(after), {name for name in before if not name.endswith("_scale_inv")})
        for name in ("model.layers.0.mlp.down_proj.weight", "model.layers.1.self_attn.q_b_proj.weight"):
            expected = b"".join(struct.pack("<H", bf16_bits(value)) for value in decoded_rows(before, name))
            self.assertEqual(after[name], ("BF16", before[name][1], expected), name)
        self.assertNotIn("quantization_config", json.loads((self.folder / "bf16/config.json").read_text()))

    def squared_error(self, before, after, name):
        originals = bf16_values(before[name][2])
        return math.fsum((a - b) ** 2 for a, b in zip(originals, decoded_int4(after, name), strict=True))

    def test_int4_experts_are_what_the_format_says(self):
        self.convert("quantize", BF16_MODEL, self.folder / "search", "--dtype", "int4")
        self.convert("quantize", BF16_MODEL, self.folder / "nearest", "--dtype", "int4", "--scales", "nearest")
        before = read_tensors(BF16_MODEL)
        searched, nearest = read_tensors(self.folder / "search"), read_tensors(self.folder / "nearest")
        packed = {name for name in before if name + "_packed" in searched}
        self.assertEqual(packed, {name for name in before if ".experts." in name})
        self.assertEqual(searched.keys() - before.keys(),
                         {name + end for name in packed for end in ("_packed", "_scale", "_shape")})
        for name in before.keys() - packed:
            self.assertEqual(searched[name], before[name], name)
        name = "model.layers.2.mlp.experts.7.down_proj.weight"
        originals, values = bf16_values(before[name][2]), list(decoded_int4(nearest, name))
        self.assertLess(self.squared_error(before, searched, name), 0.8 * self.squared_error(before, nearest, name))
        width = before[name][1][1]
        for i, (original, value) in enumerate(zip(originals, values, strict=True)):
            row, column = divmod(i, width)
            group = originals[row * width + column // 32 * 32:row * width + min(width, column // 32 * 32 + 32)]
            self.assertLessEqual(abs(original - value), max(map(abs, group)) / 7 * 0.51)
        for folder in ("search", "nearest"):
            self.assert_valid(self.folder / folder)
            quantization = json.loads((self.folder / folder / "config.json").read_text())["quantization_config"]
            self.assertEqual(quantization["quant_method"], "compressed-tensors")
            self.assertEqual(quantization["format"], "pack-quantized")
            self.assertEqual(quantization["config_groups"]["group_0"]["weights"]["group_size"], 32)

    def test_int4_ignores_what_stays(self):
        """Names as transformers and vLLM match them: whole, or with re: a regular expression from the start."""
        for choice in ("experts", "projections"):
            folder = self.folder / choice
            self.convert("quantize", BF16_MODEL, folder, "--dtype", "int4", "--tensors", choice)
            self.assert_valid(folder)
            ignore = json.loads((folder / "config.json").read_text())["quantization_config"]["ignore"]
            tensors = read_tensors(folder)
            for name, (_, shape, _) in tensors.items():
                module = name.rpartition(".")[0]
                is_linear = len(shape) == 2 and not module.endswith((".gate", "embed_tokens"))
                if name.endswith(".weight_packed") or (name.endswith(".weight") and is_linear):
                    is_ignored = any(re.match(entry[3:], module) if entry.startswith("re:") else entry == module
                                     for entry in ignore)
                    self.assertEqual(is_ignored, name.endswith(".weight"), name)
            self.assertEqual("model.layers.0.mlp.up_proj.weight_packed" in tensors, choice == "projections")
            self.assertIn("model.layers.0.self_attn.kv_b_proj.weight", tensors)

    def test_int4_back_to_bf16(self):
        self.convert("quantize", BF16_MODEL, self.folder / "int4", "--dtype", "int4", "--tensors", "projections")
        self.convert("dequantize", self.folder / "int4", self.folder / "bf16")
        self.assert_valid(self.folder / "bf16")
        original, packed, after = (read_tensors(path) for path in
                                   (BF16_MODEL, self.folder / "int4", self.folder / "bf16"))
        self.assertEqual({name: tensor[:2] for name, tensor in after.items()},
                         {name: tensor[:2] for name, tensor in original.items()})
        name = "model.layers.1.mlp.experts.3.up_proj.weight"
        self.assertEqual(after[name][2], b"".join(struct.pack("<H", bf16_bits(v)) for v in decoded_int4(packed, name)))
        self.assertEqual(json.loads((self.folder / "bf16/config.json").read_text()),
                         json.loads((BF16_MODEL / "config.json").read_text()))
        report = json.loads(run("inspect", self.folder / "int4", "--json").stdout)
        kinds = {(kind["kind"], kind["dtype"]): kind for kind in report["tensors"]}
        self.assertEqual(kinds["routed experts", "INT4"]["tensors"],
                         sum(".experts." in name and not name.startswith("model.layers.5.") for name in original))
        self.assertIn(("scales", "BF16"), kinds)

    def test_shard_and_merge_keep_every_tensor(self):
        self.convert("shard", MODEL, self.folder / "shards", "--max-shard-bytes", 1_000_000)
        self.assert_valid(self.folder / "shards")
        self.assertGreater(len(list(self.folder.glob("shards/model-*.safetensors"))), 5)
        self.convert("merge", self.folder / "shards", self.folder / "whole")
        self.assertEqual(read_tensors(self.folder / "shards"), read_tensors(MODEL))
        self.assertEqual(read_tensors(self.folder / "whole"), read_tensors(MODEL))
        for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json"):
            self.assertEqual((self.folder / "whole" / name).read_bytes(), (MODEL / name).read_bytes())

    def test_random_is_a_function_of_the_seed(self):
        for dtype in ("bf16", "f32", "fp8", "int4"):
            for name, seed in (("first", 3), ("again", 3), ("other", 4)):
                self.convert("random", self.folder / name, "--config", MODEL / "config.json", "--dtype", dtype,
                             "--seed", seed, "--force")
                self.assert_valid(self.folder / name)
            first = read_tensors(self.folder / "first")
            self.assertEqual(first, read_tensors(self.folder / "again"))
            self.assertNotEqual(first, read_tensors(self.folder / "other"))

    def test_random_refuses_a_configuration_by_its_own_name(self):
        (self.folder / "wrong.json").write_text('{"model_type": "llama"}')
        result = run("random", self.folder / "out", "--config", self.folder / "wrong.json")
        self.assert_fails(result, 1, f"'{self.folder / 'wrong.json'}'", "model_type")
        self.assertEqual([path.name for path in self.folder.iterdir()], ["wrong.json"])

    def test_an_existing_output_is_refused_and_kept(self):
        (self.folder / "taken").mkdir()
        (self.folder / "taken/note").write_text("mine")
        self.assert_fails(run("merge", MODEL, self.folder / "taken"), 1, "taken", "--force")
        self.assert_fails(run("merge", MODEL, self.folder / "taken", "--force"), 1, "expected a checkpoint to replace")
        self.assertEqual((self.folder / "taken/note").read_text(), "mine")

    def test_force_never_replaces_the_input(self):
        shutil.copytree(MODEL, self.folder / "model")
        self.assert_fails(run("merge", self.folder / "model", self.folder / "model", "--force"), 1, "input")
        self.assert_valid(self.folder / "model")

    def test_a_truncated_input_is_one_line_and_leaves_nothing(self):
        shutil.copytree(MODEL, self.folder / "cut")
        with open(self.folder / "cut/model.safetensors", "r+b") as file:
            file.truncate(5_000_000)
        for command in (("merge",), ("dequantize",), ("quantize",), ("shard", "--max-shard-bytes", 10**6)):
            result = run(command[0], self.folder / "cut", self.folder / "out", *command[1:])
            self.assert_fails(result, 1, "model.safetensors", "cut or damaged")
        self.assert_fails(run("verify", self.folder / "cut"), 1, "model.safetensors")
        self.assertEqual([path.name for path in self.folder.iterdir()], ["cut"])

    def test_a_full_disk_is_one_line_and_leaves_nothing(self):
        def limit_files():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, 3_000_000))

        result = subprocess.run([BIN / "latent-convert", "merge", MODEL, self.folder / "out"], capture_output=True,
                                text=True, preexec_fn=limit_files)
        self.assert_fails(result, 1, "model.safetensors", "File too large")
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_an_interrupted_run_leaves_nothing(self):
        config = json.loads((MODEL / "config.json").read_text())
        config["vocab_size"] = 1 << 22  # gigabytes, of which few are written
        (self.folder / "config.json").write_text(json.dumps(config))
        process = subprocess.Popen([BIN / "latent-convert", "random", self.folder / "out", "--config",
                                    self.folder / "config.json"], stderr=subprocess.PIPE, text=True)
        daemon.wait_until(lambda: list(self.folder.glob(".out.*/model*.safetensors")), "it writes weights")
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=daemon.PATIENCE_SECONDS)
        self.assertEqual((process.returncode, errors.count("\n")), (130, 1), errors)
        self.assertEqual([path.name for path in self.folder.iterdir()], ["config.json"])

    def test_verify_names_every_problem(self):
        shutil.copytree(MODEL, self.folder / "model")
        path = self.folder / "model/model.safetensors"
        content = bytearray(path.read_bytes())
        start = 8 + int.from_bytes(content[:8], "little")
        entries = json.loads(content[8:start])
        damages = {"model.norm.weight": b"\xff\x7f", "model.layers.0.mlp.up_proj.weight_scale_inv": bytes(4),
                   "model.layers.2.self_attn.o_proj.weight": b"\x7f"}
        for name, damage in damages.items():
            at = start + entries[name]["data_offsets"][0]
            content[at:at + len(damage)] = damage
        path.write_bytes(content)
        result = run("verify", self.folder / "model")
        lines = result.stderr.splitlines()
        self.assertEqual((result.returncode, len(lines)), (1, len(damages) + 1), result.stderr)
        for name in damages:
            self.assertEqual(sum(name in line for line in lines), 1, name)
        self.assertIn("3 problems", lines[-1])

    def test_inspect_counts_bytes_and_parameters(self):
        result = run("inspect", MODEL, "--json")
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        report, tensors = json.loads(result.stdout), read_tensors(MODEL)
        self.assertEqual(sum(kind["tensors"] for kind in report["tensors"]), len(tensors))
        self.assertEqual(sum(kind["bytes"] for kind in report["tensors"]), sum(len(t[2]) for t in tensors.values()))
        counts = {name: math.prod(shape) for name, (_, shape, _) in tensors.items()
                  if not name.endswith("_scale_inv") and not name.startswith("model.layers.5.")}
        routed = sum(count for name, count in counts.items() if ".experts." in name)
        self.assertEqual(report["parameters"]["total"], sum(counts.values()))
        self.assertEqual(report["parameters"]["active_per_token"], sum(counts.values()) - routed * 12 // 16)
        layers = 5 + 1  # with the one that drafts
        self.assertEqual(report["cache_fp32"]["bytes_per_token"], layers * (64 + 16) * 4)
        self.assertEqual(report["cache_bf16"]["bytes_per_token"], layers * (64 + 16) * 2)
        self.assertEqual(report["cache_fp8"]["bytes_per_token"], layers * (64 + 4 + 16 * 2))
        of_layer = {name: tensor for name, tensor in tensors.items() if name.startswith("model.layers.5.")}
        copies = ("embed_tokens.weight", "shared_head.head.weight")
        self.assertEqual(report["drafting"], {
            "possible": True,
            "parameters": sum(math.prod(shape) for name, (_, shape, _) in of_layer.items()
                              if not name.endswith(("_scale_inv", *copies))),
            "weight_bytes": sum(len(values) for _, _, values in of_layer.values())})
        text = run("inspect", MODEL).stdout
        self.assertIn("architecture=DeepseekV3ForCausalLM  model_type=deepseek_v3", text)
        self.assertIn("routed experts", text)

    def test_quantizing_twice_is_refused(self):
        self.assert_fails(run("quantize", MODEL, self.folder / "out"), 1, "F8_E4M3", "dequantize")
        self.assert_fails(run("quantize", MODEL, self.folder / "out", "--dtype", "int4"), 1, "F8_E4M3", "dequantize")
        self.assert_fails(run("dequantize", BF16_MODEL, self.folder / "out"), 1, "expected F8_E4M3")
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_help_and_usage_errors_name_the_choices(self):
        for command, flag, choices in (("quantize", "--scale-format", "{f32,ue8m0}"),
                                       ("quantize", "--dtype", "{fp8,int4}"),
                                       ("quantize", "--tensors", "{experts,projections}"),
                                       ("quantize", "--scales", "{search,nearest}"),
                                       ("random", "--dtype", "{bf16,f32,fp8,int4}")):
            self.assertIn(f"{flag} TEXT:{choices}", run(command, "--help").stdout)
            self.assertIn(f"{flag}: fp4 not in {choices}\n", run(command, flag, "fp4", "IN", "OUT").stderr)

    def test_flags_of_another_format_are_refused(self):
        for flags in (("--dtype", "int4", "--scale-format", "f32"), ("--tensors", "experts"), ("--scales", "nearest")):
            result = run("quantize", BF16_MODEL, self.folder / "out", *flags)
            self.assert_fails(result, 1, f"{flags[-2]}: expected with --dtype")
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_usage_errors_exit_2(self):
        self.assertEqual(run("merge", MODEL).returncode, 2)
        self.assertEqual(run("shard", MODEL, self.folder / "out", "--max-shard-bytes", "0").returncode, 2)
        self.assertEqual(run().returncode, 2)

    def mean_loss(self, model):
        """The loss on the held texts, through the daemon."""
        documents = json.loads(HELD_TEXT.read_text())["held_text"]["documents"]
        total, count = 0.0, 0
        with daemon.Daemon(model=model) as server:
            for document in documents:
                message = pb.ScoreRequest(token_ids=pb.TokenIds(ids=document["ids"]))
                result = server.generation.Score(message, timeout=daemon.PATIENCE_SECONDS)
                total -= math.fsum(position.logprob for position in result.positions)
                count += len(result.positions)
        return total / count

    def test_quantized_weights_keep_the_perplexity(self):
        self.convert("quantize", BF16_MODEL, self.folder / "fp8")
        ratio = math.exp(self.mean_loss(self.folder / "fp8") - self.mean_loss(BF16_MODEL))
        self.assertLess(abs(ratio - 1), 0.01)

    def test_int4_weights_keep_the_perplexity(self):
        """Searched scales cost less than nearest ones, and the daemon names the format."""
        exact, ratios = self.mean_loss(BF16_MODEL), {}
        for flags in ((), ("--scales", "nearest"), ("--tensors", "projections")):
            self.convert("quantize", BF16_MODEL, self.folder / "int4", "--dtype", "int4", *flags, "--force")
            ratios[flags] = math.exp(self.mean_loss(self.folder / "int4") - exact)
            print("int4", *flags, f"perplexity times {ratios[flags]:.4f}")
        with daemon.Daemon(model=self.folder / "int4") as server:
            model = server.models.GetModel(daemon.models_pb2.GetModelRequest())
            self.assertEqual(model.quantization, "int4_group32")
            self.assertIn("/int4_group32-", model.fingerprint)
        self.assertLess(abs(ratios[()] - 1), 0.02)


if __name__ == "__main__":
    unittest.main()
