"""Each knob on the real daemon: what it changes there, where it can come from, and how a wrong one is refused."""
import contextlib
import json
import os
import pathlib
import re
import resource
import shutil
import socket
import tempfile
import time
import unittest

import grpc
import zmq

import daemon
from access_knobs import AccessKnobs
from daemon import MODEL, held_request, long_request, run, stubborn_channel, wait_until


def printed(*arguments, **variables):
    """{name: (value, source)} of --print-config."""
    lines = run("--print-config", *arguments, **variables).stdout.splitlines()
    pairs = (line.split(" = ", 1) for line in lines)
    return {name.strip(): tuple(part.strip() for part in rest.rsplit("  # ", 1)) for name, rest in pairs}


def limits(server):
    return server.models.GetModel(daemon.models_pb2.GetModelRequest()).limits


def num_threads(pid):
    """The daemon's own threads: libraries give theirs other names, and start them when they like."""
    names = (pathlib.Path(f"/proc/{pid}/task/{task}/comm").read_text() for task in os.listdir(f"/proc/{pid}/task"))
    return sum(name == "latentd\n" for name in names)


class SourceTest(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="latentd-test-"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.file = self.folder / "latentd.toml"

    def test_precedence(self):
        self.file.write_text("max-rows = 2\nthreads = 2\ndrain-seconds = 2\n")
        knobs = printed("--config", self.file, "--max-rows", "4", LATENTD_MAX_ROWS="3", LATENTD_THREADS="3")
        self.assertEqual(knobs["max-rows"], ("4", "flag"))
        self.assertEqual(knobs["threads"], ("3", "environment"))
        self.assertEqual(knobs["drain-seconds"], ("2", "file"))
        self.assertEqual(knobs["max-queued-requests"], ("256", "default"))

    def test_printed_configuration_round_trips_without_a_model(self):
        first = run("--print-config", "--model", "/nowhere", "--max-rows", "4")
        self.assertEqual((first.returncode, first.stderr), (0, ""))
        self.file.write_text(first.stdout)
        again = printed("--config", self.file)
        self.assertEqual(again["model"], ("'/nowhere'", "file"))
        same = printed("--model", "/nowhere", "--max-rows", "4")
        self.assertEqual({name: value for name, (value, _) in again.items()},
                         {name: value for name, (value, _) in same.items()})

    def test_daemon_reads_file_and_environment(self):
        self.file.write_text("max-rows = 2\nmax-queued-requests = 7\n")
        os.environ["LATENTD_MAX_ROWS"] = "3"
        self.addCleanup(os.environ.pop, "LATENTD_MAX_ROWS")
        with daemon.Daemon("--config", self.file) as server:
            self.assertEqual((limits(server).max_rows, limits(server).max_queued_requests), (3, 7))

    def test_wrong_values_are_one_line_that_names_the_source(self):
        self.file.write_text("max-row = 2\n")
        for answer, says in ((run("--max-rows", "0"), "--max-rows: "),
                             (run(LATENTD_MAX_ROWS="many"), "LATENTD_MAX_ROWS: "),
                             (run("--config", self.file), f"{self.file}:1: expected the name of a knob"),
                             (run("--model", MODEL, "--kv-blocks", "2", "--kv-bytes", "9"), "kv-blocks=2 and"),
                             (run(), "--model")):
            with self.subTest(says=says):
                self.assertEqual((answer.returncode, answer.stderr.count("\n"), answer.stdout), (1, 1, ""))
                self.assertIn(says, answer.stderr)


class KnobTest(AccessKnobs, unittest.TestCase):
    """One knob_* method per knob; a knob without one fails."""

    def test_each_knob(self):
        knobs = printed()
        self.assertGreaterEqual(len(knobs), 21)
        for name in knobs:
            with self.subTest(knob=name):
                getattr(self, "knob_" + name.replace("-", "_"))()

    def test_no_case_without_a_knob(self):
        cases = {name[len("knob_"):].replace("_", "-") for name in dir(self) if name.startswith("knob_")}
        self.assertEqual(cases, set(printed()))

    def assert_limit(self, flag, value, field):
        with daemon.Daemon(flag, str(value)) as server:
            self.assertEqual(getattr(limits(server), field), value)

    def knob_model(self):
        with daemon.Daemon() as server:
            self.assertEqual(server.models.GetModel(daemon.models_pb2.GetModelRequest()).name, MODEL.name)

    def knob_listen(self):
        with daemon.Daemon("--drain-seconds", "1") as server:
            self.assertTrue(server.address.startswith("127.0.0.1:"))
            self.assertIn(server.address, run("--model", MODEL, "--listen", server.address).stderr)

    def knob_metrics_listen(self):
        with daemon.Daemon() as server:
            self.assertTrue(server.metrics())

    def knob_admin_listen(self):
        with daemon.Daemon() as off, daemon.Daemon("--admin-listen", "127.0.0.1:0") as on:
            self.assertIsNone(off.admin_address)
            knobs = on.admin.GetConfig(daemon.admin_pb2.GetConfigRequest()).knobs
            self.assertEqual({knob.name for knob in knobs}, set(printed()))

    def knob_kv_events_listen(self):
        with daemon.Daemon("--kv-events-listen", "tcp://127.0.0.1:0") as server:
            host, port = server.addresses["kv_events"].split(":")
            socket.create_connection((host, int(port)), timeout=daemon.PATIENCE_SECONDS).close()
            self.assertNotIn("kv_events_replay", server.addresses)
            taken = run("--model", MODEL, "--kv-events-listen", "tcp://" + server.addresses["kv_events"])
            self.assertIn("choose another with --kv-events-listen", taken.stderr)

    def knob_kv_events_replay_listen(self):
        with daemon.Daemon("--kv-events-listen", "tcp://127.0.0.1:0",
                           "--kv-events-replay-listen", "tcp://127.0.0.1:0") as server:
            self.assertIn("kv_events_replay", server.addresses)

    def knob_kv_events_topic(self):
        flags = ("--kv-events-listen", "tcp://127.0.0.1:0", "--kv-events-topic", "kv@a@b")
        with daemon.Daemon(*flags) as server, zmq.Context() as context, context.socket(zmq.SUB) as subscriber:
            subscriber.connect("tcp://" + server.addresses["kv_events"])
            subscriber.subscribe(b"")
            first = 0
            while not subscriber.poll(10):  # a subscription takes effect some time after it was made
                first += 1
                server.once(daemon.pb.GenerateRequest(token_ids=daemon.pb.TokenIds(ids=range(first, first + 65)),
                                                      stopping=daemon.pb.Stopping(max_tokens=1)))
            self.assertEqual(subscriber.recv_multipart()[0], b"kv@a@b")

    def knob_port_file(self):
        with daemon.Daemon() as server:
            self.assertIn("grpc", json.loads((server.folder / "ports.json").read_text()))

    def assert_starts_threads(self, flag, few, many):
        with daemon.Daemon(flag, str(few)) as one, daemon.Daemon(flag, str(many)) as other:
            # A library's thread has our name until it takes its own.
            wait_until(lambda: num_threads(other.process.pid) - num_threads(one.process.pid) == many - few,
                       f"{flag} decides the number of threads")

    def knob_device(self):
        with daemon.Daemon("--device", "cpu") as server:
            model = server.models.GetModel(daemon.models_pb2.GetModelRequest())
            self.assertTrue(model.fingerprint.startswith("cpu/exact-1/"), model.fingerprint)
        for device, reason in [("cuda:99", "device=cuda:99: "), ("gpu", 'expected auto, cpu or cuda:N, found "gpu"')]:
            refused = run("--model", MODEL, "--device", device)
            self.assertEqual(refused.returncode, 1)
            self.assertIn(reason, refused.stderr)
            self.assertEqual(refused.stderr.strip().count("\n"), 0, "one line")

    def knob_pin_threads(self):
        processor = min(os.sched_getaffinity(0))
        with daemon.Daemon("--threads", "0", "--pin-threads", str(processor)) as server:
            self.assertRegex(server.await_log(r"threads: ([^\n\"]*)")[1], f"^1 .*, pinned to {processor}$")

    def knob_threads(self):
        self.assert_starts_threads("--threads", 1, 12)

    def knob_egress_threads(self):
        self.assert_starts_threads("--egress-threads", 1, 7)

    def knob_max_context_tokens(self):
        self.assert_limit("--max-context-tokens", 100, "max_context_tokens")

    def knob_kv_blocks(self):
        self.assert_limit("--kv-blocks", 9, "kv_blocks")

    def knob_kv_bytes(self):
        with daemon.Daemon("--kv-bytes", str(4 << 20)) as server:
            size = server.await_log(r"cache: .* in ([\d.]+) MiB \(kv-bytes\)")
            self.assertTrue(3.5 < float(size[1]) <= 4.0, server.log_text())

    def knob_kv_dtype(self):
        """Each type has its bytes in the cache, its fingerprint, and the same answer twice."""
        slot_bytes = {"fp32": (64 + 16) * 4, "bf16": (64 + 16) * 2, "fp8": 64 + 4 + 16 * 2}
        fingerprints = {}
        for kv_dtype, size in slot_bytes.items():
            with daemon.Daemon("--device", "cpu", "--kv-dtype", kv_dtype, "--kv-blocks", "9") as server:
                server.await_log(rf"cache: 8 blocks of 64 tokens hold 512 tokens as {kv_dtype} in ")
                self.assertEqual(server.sum("kv_bytes"), 9 * 64 * (5 + 1) * size)  # one layer drafts
                fingerprints[kv_dtype] = server.models.GetModel(daemon.models_pb2.GetModelRequest()).fingerprint
                first, second = (server.once(daemon.request(max_tokens=16)) for _ in range(2))
                self.assertEqual((first.text, len(first.text) > 0), (second.text, True))
        for kv_dtype, name in [("fp32", "/kv-f32/"), ("bf16", "/kv-bf16/"), ("fp8", "/kv-fp8/")]:
            self.assertIn(name, fingerprints[kv_dtype])
        with daemon.Daemon("--device", "cpu") as server:
            self.assertEqual(server.models.GetModel(daemon.models_pb2.GetModelRequest()).fingerprint,
                             fingerprints["fp32"])

    def knob_activations(self):
        """Each format has its fingerprint."""
        fingerprints = {}
        for activations in ("auto", "fp32", "bf16", "fp8"):
            with daemon.Daemon("--device", "cpu", "--activations", activations) as server:
                fingerprints[activations] = server.models.GetModel(daemon.models_pb2.GetModelRequest()).fingerprint
        self.assertEqual(fingerprints["auto"], fingerprints["fp32"], "on the CPU")
        self.assertEqual(fingerprints["bf16"], fingerprints["fp32"].replace("-a32/kv-f32/", "-a16/kv-bf16/"))
        self.assertNotEqual(fingerprints["bf16"], fingerprints["fp32"])
        self.assertEqual(fingerprints["fp8"].replace("/exact-2/", "/exact-1/"),
                         fingerprints["fp32"].replace("-a32/", "-a8/"))

    def knob_speculate(self):
        for choice, most in (("off", 0), ("3", 3)):
            with daemon.Daemon("--speculate", choice) as server:
                self.assertEqual(limits(server).max_drafts, most)
        self.assertIn("expected one of auto, off, 1, ", run("--model", MODEL, "--speculate", "9").stderr)

    def test_formats_that_do_not_go_together_are_refused(self):
        bf16_model = daemon.ROOT / "tests/data/tiny-tales-bf16"
        for model, arguments, message in (
            (MODEL, ("--activations", "bf16", "--kv-dtype", "fp32"),
             "kv-dtype: expected what cpu stores with activations=bf16 (auto, bf16, fp8), found fp32; use one of "
             "those, or activations=fp32"),
            (bf16_model, ("--activations", "fp8"), "activations=fp8: expected FP8 weights, found none in"),
        ):
            with self.subTest(message):
                refused = run("--model", model, "--device", "cpu", *arguments)
                self.assertEqual((refused.returncode, refused.stderr.count("\n")), (1, 1), refused.stderr)
                self.assertIn(message, refused.stderr)

    def knob_prefix_cache(self):
        for choice, is_found in (("on", True), ("off", False)):
            with daemon.Daemon("--prefix-cache", choice) as server:
                found = [server.once(daemon.request(max_tokens=4)).started.cached_tokens for _ in range(2)]
                self.assertEqual((found[0], found[1] > 0), (0, is_found))

    def knob_cache_keep_seconds(self):
        self.assert_limit("--cache-keep-seconds", 2.5, "max_cache_keep_seconds")

    def knob_max_step_tokens(self):
        self.assert_limit("--max-step-tokens", 33, "max_step_tokens")
        with daemon.Daemon() as server:
            self.assertEqual(limits(server).max_step_tokens, 512)

    def knob_max_step_seconds(self):
        for seconds in ("3600", "0.002"):
            with daemon.Daemon("--max-step-seconds", seconds) as server:
                line = server.await_log(r"step: at most ([\d,]+) tokens \(([\d,]+) tokens/s")
                tokens, rate = (int(number.replace(",", "")) for number in line.groups())
                self.assertAlmostEqual(tokens, min(512, rate * float(seconds)), delta=1)

    def knob_max_rows(self):
        self.assert_limit("--max-rows", 1, "max_rows")

    def knob_max_queued_requests(self):
        self.assert_limit("--max-queued-requests", 3, "max_queued_requests")

    def knob_max_queued_tokens(self):
        self.assert_limit("--max-queued-tokens", 12345, "max_queued_tokens")

    def knob_slow_consumer_seconds(self):
        with daemon.Daemon("--slow-consumer-seconds", "0.2") as server, stubborn_channel(server) as channel:
            call = daemon.generation_pb2_grpc.GenerationStub(channel).Generate(held_request("slow"))
            next(call)
            wait_until(lambda: server.sum("slow_consumer_total", action="ended") == 1, "its patience ends")

    def knob_max_pending_bytes(self):
        """What waits for a reader that takes nothing stays near the bound, of which there are two here."""
        for bound in (4096, 131072):
            with daemon.Daemon("--max-pending-bytes", str(bound)) as server, stubborn_channel(server) as channel:
                call = daemon.generation_pb2_grpc.GenerationStub(channel).Generate(held_request("slow"))
                next(call)
                wait_until(lambda: server.sum("slow_consumer_total", action="paused") > 0, "its sequence pauses")
                wait_until(lambda: bound < server.sum("stream_backlog_bytes") < bound + 65536, "so much waits")
                call.cancel()

    def knob_max_connections(self):
        self.connect_up_to("--max-connections", "4", "--max-connections-per-peer", "4", limit="process_limit")

    def knob_max_connections_per_peer(self):
        self.connect_up_to("--max-connections-per-peer", "4", limit="peer_limit")

    def connect_up_to(self, *flags, limit):
        with daemon.Daemon(*flags) as server:
            with contextlib.ExitStack() as stack:
                for _ in range(8):
                    stack.enter_context(socket.create_connection(server.address.rsplit(":", 1)))
                wait_until(lambda: server.sum("connections_refused_total", reason=limit) >= 4, f"{limit} is met")
                self.assertLessEqual(server.sum("connections"), 4)

    def knob_max_buffered_bytes(self):
        for flags, bound in (((), None), (("--max-buffered-bytes", str(9 << 20)), 9 << 20)):
            with daemon.Daemon(*flags) as server:
                found = server.sum("buffered_bytes_capacity", kind="requests")
                self.assertEqual(server.sum("buffered_bytes_capacity", kind="answers"), found)
                if bound:
                    self.assertEqual(found, bound)
                else:
                    self.assertTrue(16 << 20 <= found <= 1 << 30, found)

    def knob_stall_seconds(self):
        """Steps of a whole prompt stall a daemon that is patient for a hundredth of a second, and no other."""
        prompt = daemon.pb.GenerateRequest(token_ids=daemon.pb.TokenIds(ids=[5] * 1800))
        prompt.stopping.max_tokens = 1
        prompt.cache.bypass = True
        large_steps = ("--max-step-tokens", "2048", "--max-step-seconds", "10")
        with daemon.Daemon("--stall-seconds", "0.01", *large_steps) as nervous:
            wait_until(lambda: nervous.once(prompt) and nervous.sum("engine_stalls_total") > 0, "it sees a stall")
        with daemon.Daemon("--stall-seconds", "86400", *large_steps) as calm:
            calm.once(prompt)
            self.assertEqual(calm.sum("engine_stalls_total"), 0)

    def knob_drain_seconds(self):
        with daemon.Daemon("--drain-seconds", "0.05") as server:
            stream = server.generation.Generate(long_request())
            next(stream)
            server.process.terminate()
            with self.assertRaises(grpc.RpcError):
                for _ in stream:
                    pass
            self.assertEqual(server.process.wait(daemon.PATIENCE_SECONDS), 0)

    def knob_max_started(self):
        """An answer that its reader leaves unread keeps its place, for a tenth of the patience while another waits."""
        flags = ("--max-started", "1", "--slow-consumer-seconds", "5")
        with daemon.Daemon(*flags) as server, stubborn_channel(server) as channel:
            held = daemon.generation_pb2_grpc.GenerationStub(channel).Generate(held_request("held"))
            next(held)
            wait_until(lambda: server.sum("slow_consumer_total", action="paused") > 0, "its sequence pauses")
            server.once(daemon.request(max_tokens=1))
            self.assertEqual(server.sum("slow_consumer_total", action="ended"), 1)
            held.cancel()

    def knob_tenants(self):
        """A file that is wrong ends the start; what a right one says, other tests show."""
        with tempfile.TemporaryDirectory(prefix="latentd-test-") as folder:
            tenants = pathlib.Path(folder) / "tenants.toml"
            tenants.write_text("[[tenant]]\nname = 'a'\nweight = 'heavy'\n")
            answer = run("--model", MODEL, "--tenants", tenants)
            self.assertEqual((answer.returncode, answer.stderr.count("\n")), (1, 1))
            self.assertIn(f"--tenants: {tenants}:3: weight: expected a number from 0.001 to 1000, found \"heavy\"",
                          answer.stderr)

    def knob_ageing_seconds(self):
        """One of low priority goes before one of higher priority if it has waited for long enough."""
        for seconds, expected in (("0.05", ["low", "high"]), ("86400", ["high", "low"])):
            with daemon.Daemon("--max-rows", "1", "--ageing-seconds", seconds) as server:
                holder = long_request()
                holder.scheduling.priority = 8
                running = server.generation.Generate(holder)
                wait_until(lambda: next(running).HasField("delta"), "it has the row")
                ends = []
                self.queue(server, "low", 0, ends)
                came_at = time.monotonic()
                wait_until(lambda: time.monotonic() > came_at + 0.12, "it waits for two periods, far from the highest")
                self.queue(server, "high", 1, ends)
                running.cancel()
                wait_until(lambda: len(ends) == 2, "both are over")
                self.assertEqual(ends, expected)

    def queue(self, server, name, priority, ends):
        """A short request that waits; `ends` gets its name when it is over."""
        num_waiting = server.sum("requests_in_flight", phase="queued")
        message = daemon.request(max_tokens=1)
        message.scheduling.priority = priority
        call = server.generation.GenerateOnce.future(message)
        call.add_done_callback(lambda _: ends.append(name))
        wait_until(lambda: server.sum("requests_in_flight", phase="queued") > num_waiting, f"{name} waits")

    def knob_chat_template(self):
        template = pathlib.Path(self.id() + ".jinja").name
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / template
            path.write_text("Say {{ messages[0].content }}")
            with daemon.Daemon("--chat-template", path) as server:
                chat = daemon.pb.ChatInput(messages=[daemon.pb.ChatMessage(role="user", content="yes")])
                self.assertEqual(server.generation.Tokenize(daemon.pb.TokenizeRequest(chat=chat)).rendered, "Say yes")

    def knob_served_model_name(self):  # more of it: smg_rpcs_test.py
        with daemon.Daemon("--served-model-name", "tales,tiny") as server:
            self.assertEqual(server.once(daemon.request(model="tiny", max_tokens=1)).started.model, "tales")

    def knob_metrics_compat(self):  # what is in them: smg_rpcs_test.py
        with daemon.Daemon("--metrics-compat", "vllm") as server:
            self.assertTrue(any(name.startswith("vllm:") for name in server.metrics()))

    def knob_smg(self):
        with daemon.Daemon("--smg", "off") as server, self.assertRaises(grpc.RpcError):
            server.health("vllm.grpc.engine.VllmEngine")

    def knob_generation_config(self):
        with daemon.Daemon("--generation-config", "none") as server:
            model = server.models.GetModel(daemon.models_pb2.GetModelRequest())
            self.assertEqual(model.sampling_defaults.temperature, 1)

    def knob_eos_token_ids(self):
        with daemon.Daemon("--eos-token-ids", "5,7") as server:
            model = server.models.GetModel(daemon.models_pb2.GetModelRequest())
            self.assertEqual(list(model.eos_token_ids), [1, 5, 7])

    def knob_log_level(self):
        with daemon.Daemon("--log-level", "error") as server:
            self.assertEqual(server.log_text(), "")

    def knob_core_dumps(self):
        limits = re.compile("^Max core file size +(\\d+|unlimited)", re.M)
        for mode, is_off in (("off", True), ("on", resource.getrlimit(resource.RLIMIT_CORE)[1] == 0)):
            with daemon.Daemon("--core-dumps", mode) as server:
                text = pathlib.Path(f"/proc/{server.process.pid}/limits").read_text()
                self.assertEqual(limits.search(text)[1] == "0", is_off)

    def knob_recorder_dir(self):
        stall = ("--stall-seconds", "0.01", "--max-step-tokens", "2048", "--max-step-seconds", "10")
        with tempfile.TemporaryDirectory() as folder, daemon.Daemon("--recorder-dir", folder, *stall) as server:
            prompts = (daemon.pb.TokenIds(ids=[first] * 1800) for first in range(5, 1000))  # none of it is cached

            def saved():
                server.once(daemon.pb.GenerateRequest(token_ids=next(prompts),
                                                      stopping=daemon.pb.Stopping(max_tokens=1)))
                return list(pathlib.Path(folder).glob("*-stall-*.flight"))
            wait_until(saved, "a stall saves the flight recorder")

    def knob_profile(self):
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / "trace.json"
            with daemon.Daemon("--profile", file) as server:
                self.assertEqual(file.read_text(), "", "nothing was computed yet")

                def is_written():
                    server.once(daemon.request(max_tokens=8))
                    return file.stat().st_size > 0
                wait_until(is_written, "the first steps are written")
            self.assertEqual(json.loads(file.read_text())["traceEvents"][0]["name"], "step")

    def knob_otlp_endpoint(self):  # see traces_test.py for what it changes
        self.assertIn("--otlp-endpoint: expected", run("--model", MODEL, "--otlp-endpoint", "http://x").stderr)

    def knob_log_format(self):
        with daemon.Daemon("--log-format", "json") as server:
            server.await_log("serving .*\n")
            lines = server.log_text().splitlines()
        for line in lines:
            self.assertIn("message", json.loads(line))


if __name__ == "__main__":
    unittest.main()
