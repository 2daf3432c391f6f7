"""How the daemon starts, refuses to start, and stops."""
import contextlib
import os
import pathlib
import re
import shutil
import signal
import socket
import struct
import tempfile
import unittest

import grpc

import daemon
from daemon import Details, MODEL, long_request, request, wait_until
from hostile_peers import Peer
from raw_http2 import WINDOW_UPDATE, frame
from transfers import detokenize_request


class StartTest(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="latentd-test-"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.model = self.folder / "model"

    def copy_model(self):
        shutil.copytree(MODEL, self.model)

    def assert_refuses(self, *flags, model=None, says=""):
        refused = daemon.run("--model", model or self.model, *flags)
        self.assertEqual((refused.returncode, refused.stderr.count("\n"), refused.stdout), (1, 1, ""), refused.stderr)
        self.assertTrue(refused.stderr.startswith("latentd: "), refused.stderr)
        self.assertIn(says, refused.stderr)

    def test_missing_model(self):
        self.assert_refuses(model=self.folder / "nothing", says="nothing")

    def test_unknown_flag(self):
        self.assert_refuses("--colour", "blue", says="--colour")

    def test_truncated_checkpoint(self):
        self.copy_model()
        weights = self.model / "model.safetensors"
        os.truncate(weights, weights.stat().st_size // 2)
        self.assert_refuses(says="model.safetensors")

    def test_pipe_or_directory_in_place_of_a_file(self):
        for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json",
                     "generation_config.json"):
            for make in (os.mkfifo, os.mkdir):
                with self.subTest(name=name, make=make.__name__):
                    shutil.rmtree(self.model, ignore_errors=True)
                    self.copy_model()
                    (self.model / name).unlink()
                    make(self.model / name)
                    self.assert_refuses(says=name)

    def test_address_in_use(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            self.assert_refuses("--listen", address, model=MODEL, says=address)
            self.assert_refuses("--metrics-listen", address, model=MODEL, says=address)

    def test_second_daemon_on_the_same_port(self):
        with daemon.Daemon() as first:
            self.assert_refuses("--listen", first.address, model=MODEL, says="already in use")

    def test_cache_that_is_too_small_or_too_large(self):
        self.assert_refuses("--kv-blocks", "1", model=MODEL, says="--kv-blocks")
        self.assert_refuses("--kv-bytes", str(1 << 40), model=MODEL, says="1048575.9 MiB")

    def test_port_file_that_cannot_be_written(self):
        self.assert_refuses("--port-file", self.folder / "missing" / "ports", model=MODEL, says="port-file")

    def test_model_without_tokenizer_serves_token_ids_only(self):
        self.copy_model()
        (self.model / "tokenizer.json").unlink()
        with daemon.Daemon(model=self.model) as server, daemon.Daemon() as whole:
            message = daemon.pb.GenerateRequest(token_ids=daemon.pb.TokenIds(ids=[0, 100, 200]))
            message.sampling.seed, message.stopping.max_tokens = 7, 16
            ids = server.once(message)
            self.assertEqual(ids.text, "")
            message.output.token_ids = True
            self.assertEqual(ids.token_ids, whole.once(message).token_ids)
            with self.assertRaises(grpc.RpcError) as caught:
                server.once(request())
            details = Details(caught.exception)
            self.assertEqual((details.code, details.reason), (grpc.StatusCode.FAILED_PRECONDITION, "NO_TOKENIZER"))


class SmallCacheTest(unittest.TestCase):
    def context_and_refusal(self, *flags):
        with daemon.Daemon("--kv-blocks", "3", *flags) as server:
            context = server.models.GetModel(daemon.models_pb2.GetModelRequest()).limits.max_context_tokens
            with self.assertRaises(grpc.RpcError) as caught:
                server.once(long_request(max_tokens=context))
                server.once(long_request(max_tokens=context + 1))
            return context, Details(caught.exception)

    def test_context_shrinks_to_what_the_cache_holds(self):
        context, details = self.context_and_refusal()
        self.assertEqual(context, 128)
        self.assertEqual((details.code, details.fields), (grpc.StatusCode.INVALID_ARGUMENT, ["stopping.max_tokens"]))

    def test_larger_context_by_flag_refuses_what_can_never_fit(self):
        context, details = self.context_and_refusal("--max-context-tokens", "1000")
        self.assertEqual(context, 1000)
        self.assertEqual((details.code, details.reason), (grpc.StatusCode.FAILED_PRECONDITION, "KV_CAPACITY_EXCEEDED"))
        self.assertEqual(details.metadata, {"needed_blocks": "16", "total_blocks": "2"})


class StopTest(unittest.TestCase):
    NUM_TOKENS = 1900  # takes far longer than a few RPCs

    def start_streams(self, server, count):
        """Streams that have begun to answer and go on for long."""
        calls = [server.generation.Generate(long_request(seed, self.NUM_TOKENS)) for seed in range(count)]
        for call in calls:
            wait_until(lambda: next(call).HasField("delta"), "the stream answers")
        return calls

    def test_sigterm_under_load_finishes_streams_and_refuses_new_ones(self):
        with daemon.Daemon() as server:
            server.health()
            calls = self.start_streams(server, 4)
            server.process.send_signal(signal.SIGTERM)
            wait_until(lambda: server.health() == 2, "health says NOT_SERVING")
            self.assertEqual(server.health("latentd.v1.Generation"), 2)
            self.assertIsNone(server.process.poll(), "streams are in flight")
            with self.assertRaises(grpc.RpcError) as caught:
                list(server.generation.Generate(request()))
            details = Details(caught.exception)
            self.assertEqual((details.code, details.reason), (grpc.StatusCode.UNAVAILABLE, "DRAINING"))
            self.assertEqual(details.retry_seconds, 1)
            for call in calls:
                last = [event for event in call][-1]
                self.assertEqual(last.completed.usage.generated_tokens, self.NUM_TOKENS)
            self.assertEqual(server.process.wait(daemon.PATIENCE_SECONDS), 0)

    def test_drain_ends_what_takes_too_long(self):
        with daemon.Daemon("--drain-seconds", "0.05") as server:
            calls = self.start_streams(server, 4)
            server.process.send_signal(signal.SIGINT)
            for call in calls:
                with self.assertRaises(grpc.RpcError) as caught:
                    list(call)
                details = Details(caught.exception)
                self.assertEqual((details.code, details.reason), (grpc.StatusCode.UNAVAILABLE, "DRAINING"))
            self.assertEqual(server.process.wait(daemon.PATIENCE_SECONDS), 0)

    def test_clients_that_read_nothing_do_not_hold_up_the_end(self):
        """Their answers fill what the kernel takes for a connection, or the window that they grant; none ever leaves
        them, and it is not they who cancelled."""
        with contextlib.ExitStack() as stack:
            server = stack.enter_context(daemon.Daemon("--drain-seconds", "0.1", "--max-buffered-bytes", str(64 << 20)))
            large = detokenize_request(server, 3_900_000)
            shut, stalled = (stack.enter_context(Peer(server.address, "127.0.0.1", window)) for window in (1 << 30, 10))
            shut.send(frame(WINDOW_UPDATE, payload=struct.pack(">I", 1 << 30)))
            for _ in range(5):
                shut.call("/latentd.v1.Generation/Detokenize", large)
            for method, message in (("Generate", long_request()), ("Generate", request()),
                                    ("Tokenize", daemon.pb.TokenizeRequest(text="a b c d"))):
                stalled.call(f"/latentd.v1.Generation/{method}", message)
            wait_until(lambda: server.sum("requests_received_total") == 9, "all of them are there")
            wait_until(lambda: server.sum("buffered_bytes", kind="answers") > 1 << 20, "answers wait")
            server.process.terminate()
            self.assertEqual(server.process.wait(daemon.PATIENCE_SECONDS), 0)
            reasons = re.findall(r" reason=(\S+) ", server.log_text())
            self.assertEqual(reasons.count("CLIENT_CANCEL"), 0, reasons)
            self.assertGreaterEqual(reasons.count("DRAINING"), 3, reasons)

    def test_second_signal_ends_the_process_at_once(self):
        server = daemon.Daemon()
        self.addCleanup(shutil.rmtree, server.folder)
        self.addCleanup(server.process.kill)
        calls = self.start_streams(server, 2)
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: server.health() == 2, "the drain has begun")
        server.process.send_signal(signal.SIGTERM)
        self.assertEqual(server.process.wait(daemon.PATIENCE_SECONDS), -signal.SIGTERM)
        for call in calls:
            with self.assertRaises(grpc.RpcError):
                list(call)
        server.channel.close()

    def test_idle_daemon_with_an_open_health_watch_stops_at_once(self):
        with daemon.Daemon() as server:
            watch = server.channel.unary_stream("/grpc.health.v1.Health/Watch", lambda m: m, lambda m: m)(b"")
            self.assertEqual(next(watch)[1], 1)
            server.process.terminate()
            self.assertEqual(next(watch)[1], 2)
            self.assertEqual(server.process.wait(daemon.PATIENCE_SECONDS), 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
