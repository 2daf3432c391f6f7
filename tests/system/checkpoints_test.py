"""Model directories as people have them: what transformers, vLLM and SGLang load means the same here, or is refused in
a line that says what to do. CHECKPOINTS.md lists the cases. 15 s, most of it starts of the daemon."""
import json
import pathlib
import shutil
import struct
import subprocess
import tempfile
import unittest

import grpc

import daemon
from daemon import BIN, MODEL, pb, request

BOS, END = "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"
ONCE_UPON = [2078, 656]


def edit_json(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def read_tensors(path):
    """{name: (dtype, shape, bytes)} of a safetensors file."""
    data = path.read_bytes()
    header_bytes = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + header_bytes])
    header.pop("__metadata__", None)
    return {name: (entry["dtype"], entry["shape"],
                   data[8 + header_bytes + entry["data_offsets"][0]:8 + header_bytes + entry["data_offsets"][1]])
            for name, entry in header.items()}


def write_tensors(path, tensors):
    header, end = {}, 0
    for name, (dtype, shape, content) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + len(content)]}
        end += len(content)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(content for _, _, content in tensors.values()))


def write_shards(folder, shards):
    """Each {name: tensor} becomes a file; returns the index, which is written too."""
    (folder / "model.safetensors").unlink(missing_ok=True)
    weight_map = {}
    for number, tensors in enumerate(shards, 1):
        name = f"model-{number:05}-of-{len(shards):05}.safetensors"
        write_tensors(folder / name, tensors)
        weight_map |= dict.fromkeys(tensors, name)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return weight_map


class Case(unittest.TestCase):
    """A copy of the bundled model in self.model, to be changed."""

    @classmethod
    def setUpClass(cls):
        cls.plain_text = None

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="latentd-test-"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.model = self.folder / "tiny-tales"
        shutil.copytree(MODEL, self.model)

    def edit(self, name, change):
        edit_json(self.model / name, change)

    def serve(self, *flags):
        return daemon.Daemon(*flags, model=self.model)

    def assert_refuses(self, *says, flags=()):
        run = daemon.run("--model", self.model, *flags)
        self.assertEqual((run.returncode, run.stderr.count("\n")), (1, 1), run.stderr)
        for part in says:
            self.assertIn(part, run.stderr)


def model_of(server):
    return server.models.GetModel(daemon.models_pb2.GetModelRequest())


def text_of(server):
    """The answer to a fixed request, to be compared between daemons."""
    return server.once(request(max_tokens=12, sampling=pb.Sampling(temperature=0))).text


def tokens_of(server, text="Once upon"):
    return list(server.generation.Tokenize(pb.TokenizeRequest(text=text)).token_ids)


def chat(server, *, tools=(), content="x"):
    """The prompt of a conversation of one message."""
    message = pb.ChatInput(messages=[pb.ChatMessage(role="user", content=content)],
                           tools=[pb.Tool(name=name) for name in tools])
    return server.generation.Tokenize(pb.TokenizeRequest(chat=message)).rendered


class WeightsTest(Case):
    """B1: tensors that nothing uses, or that config.json names and that are not there."""

    def expected(self):
        if WeightsTest.plain_text is None:
            with daemon.Daemon() as server:
                WeightsTest.plain_text = text_of(server)
        return WeightsTest.plain_text

    def assert_serves(self, warning, num_mtp_layers=0):
        with self.serve() as server:
            self.assertEqual(text_of(server), self.expected())
            self.assertEqual(model_of(server).shape.num_mtp_layers, num_mtp_layers)
            server.await_log(warning)

    def test_without_the_layer_that_predicts_further_tokens(self):
        tensors = read_tensors(self.model / "model.safetensors")
        write_tensors(self.model / "model.safetensors",
                      {name: tensor for name, tensor in tensors.items() if not name.startswith("model.layers.5.")})
        self.assert_serves("config.json names 1 layers that predict further tokens .* 0 of the layers are served")
        del tensors["model.layers.5.eh_proj.weight"]
        write_tensors(self.model / "model.safetensors", tensors)
        self.assert_serves("of their tensors 1 are absent, such as 'model.layers.5.eh_proj.weight'")

    def test_a_layer_and_leftovers_that_config_does_not_name(self):
        self.edit("config.json", lambda config: config.update(num_nextn_predict_layers=0))
        tensors = read_tensors(self.model / "model.safetensors")
        for name in ("vision_tower.patch_embed.weight", "optimizer.state.0", "model.layers.0.self_attn.q_a_proj.bias"):
            tensors[name] = ("F16", [2], b"1234")
        write_tensors(self.model / "model.safetensors", tensors)
        self.assert_serves(r"\d+ tensors are left aside, since config.json asks for no such ones: ")

    def test_a_shard_that_nobody_needs_may_be_absent_and_no_other(self):
        tensors = read_tensors(self.model / "model.safetensors")
        of_mtp = {name for name in tensors if name.startswith("model.layers.5.")}
        write_shards(self.model, [{name: tensors[name] for name in tensors if name not in of_mtp},
                                  {name: tensors[name] for name in of_mtp}])
        (self.model / "model-00002-of-00002.safetensors").unlink()
        write_tensors(self.model / "consolidated.safetensors", {"tok_embeddings": ("U8", [1], b"x")})
        self.assert_serves("the index names .* tensors that are not there")
        write_shards(self.model, [{name: tensors[name] for name in of_mtp},
                                  {name: tensors[name] for name in tensors if name not in of_mtp}])
        (self.model / "model-00002-of-00002.safetensors").unlink()
        self.assert_refuses("expected in 'model-00002-of-00002.safetensors', as the index says, found no such file")

    def test_weights_of_other_programs(self):
        (self.model / "model.safetensors").rename(self.model / "pytorch_model.bin")
        self.assert_refuses("found 'pytorch_model.bin', which is PyTorch's: load it with transformers")


class TokenizerTest(Case):
    """B2, B3: post-processors, and directories with fewer files."""

    def test_bos_of_the_post_processor(self):
        post_processor = {
            "type": "TemplateProcessing", "pair": [],
            "single": [{"SpecialToken": {"id": BOS, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "special_tokens": {BOS: {"id": BOS, "ids": [0], "tokens": [BOS]}}}
        self.edit("tokenizer.json", lambda file: file.update(post_processor=post_processor))
        self.edit("tokenizer_config.json", lambda config: config.pop("add_bos_token"))
        with self.serve() as server:
            self.assertEqual(tokens_of(server), [0, *ONCE_UPON])
            self.assertEqual(server.once(request("Once upon", max_tokens=1)).started.prompt_tokens, 3)

    def test_tokenizer_json_alone(self):
        (self.model / "tokenizer_config.json").unlink()
        with self.serve() as server:
            self.assertEqual(tokens_of(server), ONCE_UPON)
            self.assertTrue(text_of(server))
            self.assertTrue(model_of(server).has_tokenizer)
            server.await_log("the model has no chat template")

    def test_no_tokenizer_is_said_at_start(self):
        (self.model / "tokenizer.json").rename(self.model / "tokenizer.model")
        with self.serve() as server:
            self.assertFalse(model_of(server).has_tokenizer)
            server.await_log(r"found only tokenizer.model; .*: only token ids are served")


class GenerationConfigTest(Case):
    """B4, B7, B8, B9: what the configurations say."""

    def started(self, server, **groups):
        return server.once(daemon.pb.GenerateRequest(text="Once upon", **groups)).started

    def test_everything_that_a_request_can_set_is_a_default(self):
        (self.model / "generation_config.json").write_text(json.dumps(
            {"do_sample": True, "temperature": 0.5, "top_k": 7, "top_p": 0.75, "min_p": 0.125, "num_beams": 4,
             "repetition_penalty": 1.25, "max_new_tokens": 5, "min_new_tokens": 2, "stop_strings": ["zzz"]}))
        with self.serve() as server:
            defaults = model_of(server).sampling_defaults
            self.assertEqual((defaults.temperature, defaults.top_k, defaults.top_p, defaults.min_p),
                             (0.5, 7, 0.75, 0.125))
            self.assertEqual((defaults.repetition_penalty, defaults.max_tokens, defaults.min_tokens, defaults.stop),
                             (1.25, 5, 2, ["zzz"]))
            started = self.started(server)
            self.assertEqual((started.sampling.top_k, started.sampling.min_p, started.sampling.repetition_penalty),
                             (7, 0.125, 1.25))
            self.assertEqual((started.stopping.max_tokens, started.stopping.min_tokens, started.stopping.stop),
                             (5, 2, ["zzz"]))
            own = self.started(server, sampling=pb.Sampling(top_k=0, repetition_penalty=1),
                               stopping=pb.Stopping(max_tokens=1, stop=["yyy"]))
            self.assertEqual((own.sampling.top_k, own.sampling.repetition_penalty), (0, 1))
            self.assertEqual((own.stopping.max_tokens, own.stopping.min_tokens, own.stopping.stop), (1, 1, ["yyy"]))
            server.await_log("generation_config.json: .* left aside: num_beams")
        with self.serve("--generation-config", "none") as server:
            self.assertEqual(model_of(server).sampling_defaults.temperature, 1)
            self.assertFalse(model_of(server).sampling_defaults.HasField("max_tokens"))
        other = self.folder / "other.json"
        other.write_text(json.dumps({"do_sample": False, "temperature": 0.9, "eos_token_id": 9}))
        with self.serve("--generation-config", other) as server:
            self.assertEqual(self.started(server, stopping=pb.Stopping(max_tokens=1)).sampling.temperature, 0)
            self.assertEqual(list(model_of(server).eos_token_ids), [9, 1])
        self.assert_refuses("absent.json", flags=("--generation-config", self.folder / "absent.json"))

    def test_defaults_that_no_request_may_ask_for(self):
        """Elsewhere each request that leaves the number out fails; the start says so once, and what to do."""
        for key, number in (("temperature", -1), ("top_p", 2), ("repetition_penalty", 1e-50), ("top_k", 1 << 40)):
            with self.subTest(key=key):
                (self.model / "generation_config.json").write_text(json.dumps({key: number}))
                self.assert_refuses(f"{key}: expected a", flags=("--generation-config", "auto"))
        self.assert_refuses("say with generation-config where else the defaults come from")
        with self.serve("--generation-config", "none") as server:
            self.assertEqual(self.started(server, stopping=pb.Stopping(max_tokens=1)).sampling.top_k, 0)

    def test_end_of_sequence_is_the_union(self):
        self.edit("config.json", lambda config: config.update(eos_token_id=7))
        self.edit("generation_config.json", lambda config: config.update(eos_token_id=[8, 7]))
        with self.serve("--eos-token-ids", "9, 7") as server:
            self.assertEqual(list(model_of(server).eos_token_ids), [8, 7, 1, 9])
        self.edit("config.json", lambda config: config.pop("eos_token_id"))
        self.edit("generation_config.json", lambda config: config.pop("eos_token_id"))
        with self.serve() as server:
            self.assertEqual(list(model_of(server).eos_token_ids), [1], "the tokenizer's")
        self.edit("tokenizer_config.json", lambda config: config.pop("eos_token"))
        with self.serve() as server:
            self.assertEqual(list(model_of(server).eos_token_ids), [])
            server.await_log("no file of the model names an end-of-sequence token")
        self.assert_refuses("eos-token-ids: expected ids from 0 to 4095", flags=("--eos-token-ids", "1,5000"))

    def test_what_config_json_leaves_out(self):
        def leave_out(config):
            for key in ("n_shared_experts", "routed_scaling_factor"):
                config.pop(key)
        self.edit("config.json", leave_out)
        with self.serve() as server, daemon.Daemon() as plain:
            self.assertEqual(text_of(server), text_of(plain), "what DeepseekV3Config takes is what the file said")
            server.await_log("leaves out what decides the numbers: .*factor = 2.5, n_shared_experts = 1 is taken")
        self.edit("config.json", lambda config: config.pop("first_k_dense_replace"))
        self.assert_refuses("which leaves them out, say other than first_k_dense_replace = 3")

    def test_yarn_in_other_spellings(self):
        def both(config):
            config["rope_parameters"] = {**config["rope_scaling"], "rope_type": "yarn", "rope_theta": 10000}
        self.edit("config.json", both)
        with self.serve() as server, daemon.Daemon() as plain:
            self.assertEqual(text_of(server), text_of(plain))
        self.edit("config.json", lambda config: config["rope_scaling"].update(factor=8))
        self.assert_refuses("rope_scaling: expected nothing beside rope_parameters, or the same")
        self.edit("config.json", lambda config: config.pop("rope_parameters"))
        self.edit("config.json", lambda config: config["rope_scaling"].pop("original_max_position_embeddings"))
        with self.serve() as server:
            server.await_log("original_max_position_embeddings is not there: .* = 2048 is taken")

    def test_what_get_model_calls_things(self):
        with self.serve("--kv-blocks", "9") as server:
            model = model_of(server)
            self.assertEqual(model.architecture, "DeepseekV3ForCausalLM")
            self.assertEqual((model.limits.kv_blocks, model.limits.kv_tokens), (9, 8 * 64))
            server.await_log("cache: 8 blocks of 64 tokens hold 512 tokens")


class ChatTemplateTest(Case):
    """B5: where templates come from, and what a broken one costs."""

    def assert_no_template(self, server, says, **arguments):
        with self.assertRaises(grpc.RpcError) as failure:
            chat(server, **arguments)
        details = daemon.Details(failure.exception)
        self.assertEqual((details.code, details.reason), (grpc.StatusCode.FAILED_PRECONDITION, "NO_CHAT_TEMPLATE"))
        self.assertIn(says, details.message)

    def test_named_templates(self):
        named = [{"name": "default", "template": "D{{ messages[0].content }}"},
                 {"name": "tool_use", "template": "T{{ messages[0].content }}{{ tools[0].function.name }}"}]
        self.edit("tokenizer_config.json", lambda config: config.update(chat_template=named))
        with self.serve() as server:
            self.assertEqual((chat(server), chat(server, tools=["f"])), ("Dx", "Txf"))
        with self.serve("--chat-template", "tool_use") as server:
            self.assertEqual(chat(server, tools=["f"]), "Txf")
        mine = self.folder / "mine.jinja"
        mine.write_text("M{{ messages[0].content }}")
        with self.serve("--chat-template", mine) as server:
            self.assertEqual(chat(server), "Mx")
        self.assert_refuses("chat-template=rag", "(default, tool_use)", flags=("--chat-template", "rag"))

    def test_additional_templates_and_no_default(self):
        folder = self.model / "additional_chat_templates"
        folder.mkdir()
        (folder / "tool_use.jinja").write_text("A{{ tools[0].function.name }}{{ messages[0].content }}")
        with self.serve() as server:
            self.assertEqual(chat(server, tools=["f"]), "Afx")
            self.assert_no_template(server, "templates are called tool_use, and none is the default")
            self.assertTrue(model_of(server).has_chat_template)

    def test_a_broken_template_costs_chat_only(self):
        (self.model / "chat_template.jinja").write_text("{% for message in %}")
        with self.serve() as server:
            self.assertTrue(text_of(server))
            self.assert_no_template(server, "the chat template default of chat_template.jinja cannot be used: ")
            self.assertFalse(model_of(server).has_chat_template)
            server.await_log("chat_template.jinja cannot be used: .* Chat is refused")


class DownloadTest(Case):
    """B6: what is there in place of a file."""

    def test_pointers_and_pages(self):
        pointer = ("version https://git-lfs.github.com/spec/v1\n"
                   "oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 9755696\n")
        for name in ("config.json", "generation_config.json", "model.safetensors", "tokenizer.json",
                     "tokenizer_config.json"):
            for content, says in ((pointer, "a git-lfs pointer in place of the file of 9,755,696 bytes; fetch"),
                                  ("<!DOCTYPE html><html>", "an HTML page"), ("", "empty")):
                with self.subTest(name=name, says=says):
                    kept = (self.model / name).read_bytes()
                    (self.model / name).write_text(content)
                    self.assert_refuses(name, says)
                    (self.model / name).write_bytes(kept)


class ConverterTest(Case):
    """B10: what latent-convert writes says what it is, once."""

    def convert(self, *arguments):
        run = subprocess.run([BIN / "latent-convert", *arguments], capture_output=True, text=True)
        self.assertEqual(run.returncode, 0, run.stderr)
        return json.loads((self.folder / "out/config.json").read_text())

    def test_one_spelling_of_the_type(self):
        for spelling, dtype, says in (("dtype", "f32", "float32"), ("torch_dtype", "f32", "float32"),
                                      ("dtype", "bf16", "bfloat16"), ("dtype", "fp8", "bfloat16")):
            with self.subTest(spelling=spelling, dtype=dtype):
                def rename(config):
                    config.pop("torch_dtype", None)
                    config.pop("dtype", None)
                    config[spelling] = "float16"
                self.edit("config.json", rename)
                config = self.convert("random", self.folder / "out", "--config", self.model / "config.json",
                                      "--dtype", dtype, "--force")
                self.assertEqual({key: config[key] for key in ("dtype", "torch_dtype") if key in config},
                                 {spelling: says})


if __name__ == "__main__":
    unittest.main(verbosity=2)
