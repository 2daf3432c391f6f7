"""The daemon listens from the first moment: what answers while the model loads, and how that can end."""
import json
import subprocess
import unittest

import grpc

import daemon
import laws
from daemon import BIN, Details, admin_pb2, models_pb2, pb, request, wait_until
from loading_daemon import LoadingDaemon

SERVING, NOT_SERVING = 1, 2
READINESS = ("", "latentd.v1.Generation", "latentd.v1.Models")


def calls(server):
    """Every method that needs the model."""
    messages = [pb.ChatMessage(role="user", content="Hello")]
    return {
        "Generate": lambda: list(server.generation.Generate(request())),
        "GenerateOnce": lambda: server.generation.GenerateOnce(request()),
        "Chat": lambda: list(server.generation.Chat(pb.ChatRequest(messages=messages))),
        "Score": lambda: server.generation.Score(pb.ScoreRequest(text="Once")),
        "Tokenize": lambda: server.generation.Tokenize(pb.TokenizeRequest(text="Once")),
        "Detokenize": lambda: server.generation.Detokenize(pb.DetokenizeRequest(token_ids=[5])),
        "GetModel": lambda: server.models.GetModel(models_pb2.GetModelRequest()),
        "ListModels": lambda: server.models.ListModels(models_pb2.ListModelsRequest()),
    }


class WhileLoadingTest(unittest.TestCase):
    """One daemon that goes on loading; no test lets it serve."""

    @classmethod
    def setUpClass(cls):
        cls.server = cls.enterClassContext(LoadingDaemon())

    def test_every_call_says_loading_and_how_far(self):
        for method, call in calls(self.server).items():
            with self.subTest(method=method):
                with self.assertRaises(grpc.RpcError) as caught:
                    call()
                details = Details(caught.exception)
                self.assertEqual((details.code, details.reason, details.domain),
                                 (grpc.StatusCode.UNAVAILABLE, "LOADING", "latentd"))
                loaded, total = int(details.metadata["loaded_bytes"]), int(details.metadata["total_bytes"])
                self.assertLess(loaded, total)
                self.assertGreater(total, 9_000_000)
                self.assertRegex(details.message, r"weights: 0\.\d\d of 0\.01 GB \(\d+ %\).* s left\); ask again then")
                self.assertGreaterEqual(details.retry_seconds, 1)
                trailers = dict(caught.exception.trailing_metadata())
                self.assertGreaterEqual(int(trailers["grpc-retry-pushback-ms"]), 1000)

    def test_alive_but_not_ready(self):
        self.assertEqual(self.server.health("latentd.liveness"), SERVING)
        for service in READINESS:
            self.assertEqual(self.server.health(service), NOT_SERVING, service)
        self.assertFalse(self.server.port_file.exists())

    def test_refusals_are_counted_and_the_laws_hold(self):
        def refused():
            return self.server.sum("requests_finished_total", method="Generate", reason="LOADING")
        before = refused()
        with self.assertRaises(grpc.RpcError):
            list(self.server.generation.Generate(request()))
        self.assertEqual(refused(), before + 1)
        samples = self.server.metrics()
        self.assertEqual(samples['latentd_state{state="loading"}'], 1)
        self.assertEqual(laws.violations(samples), [])

    def test_admin_answers_what_it_can(self):
        admin = self.server.admin
        load = admin.GetLoad(admin_pb2.GetLoadRequest())
        self.assertGreater(load.loading.total_bytes, 9_000_000)
        self.assertEqual(len(admin.ListRequests(admin_pb2.ListRequestsRequest()).requests), 0)
        self.assertEqual(len(admin.Abort(admin_pb2.AbortRequest(all=True)).entries), 0)
        entry = admin.Abort(admin_pb2.AbortRequest(request_ids=["a"])).entries[0]
        self.assertEqual(entry.outcome, admin_pb2.AbortResult.OUTCOME_NOT_FOUND)
        knobs = {knob.name: knob.value for knob in admin.GetConfig(admin_pb2.GetConfigRequest()).knobs}
        self.assertEqual((knobs["threads"], knobs["kv-blocks"]), ("2", "0"), "what is to be derived is not known yet")
        watch = admin.WatchLoad(admin_pb2.WatchLoadRequest())
        self.assertTrue(next(watch).HasField("loading"))
        watch.cancel()
        with self.assertRaises(grpc.RpcError) as caught:
            list(admin.DumpFlightRecorder(admin_pb2.DumpFlightRecorderRequest()))
        self.assertEqual(daemon.Details(caught.exception).reason, "LOADING")
        with self.assertRaises(grpc.RpcError) as caught:
            list(admin.ProfileSteps(admin_pb2.ProfileStepsRequest()))
        self.assertEqual(daemon.Details(caught.exception).reason, "LOADING")

    def test_latentctl_shows_it(self):
        def latentctl(*arguments):
            return subprocess.run([BIN / "latentctl", *arguments], capture_output=True, text=True,
                                  timeout=daemon.PATIENCE_SECONDS)
        status = latentctl("status", "--admin", self.server.admin_address)
        self.assertRegex(status.stdout, r"^health       NOT_SERVING \(loading\)\nloading      0\.00 of 0\.01 GB")
        self.assertEqual(status.returncode, 1)
        refused = latentctl("model", "--server", self.server.address)
        self.assertEqual(refused.returncode, 1)
        self.assertIn("the model is loading", refused.stderr)
        alive = latentctl("health", "latentd.liveness", "--server", self.server.address)
        self.assertEqual((alive.returncode, alive.stdout), (0, "SERVING\n"))


class EndOfLoadingTest(unittest.TestCase):
    def test_serves_once_the_model_is_there(self):
        with LoadingDaemon() as server:
            watch = server.channel.unary_stream("/grpc.health.v1.Health/Watch", lambda m: m, lambda m: m)(b"")
            self.assertEqual(next(watch)[1], NOT_SERVING)
            server.admin.SetLogLevel(admin_pb2.SetLogLevelRequest(level="error"))
            server.resume()
            self.assertEqual(next(watch)[1], SERVING)
            for service in READINESS:
                self.assertEqual(server.health(service), SERVING, service)
            for call in calls(server).values():
                call()
            load = server.admin.GetLoad(admin_pb2.GetLoadRequest())
            self.assertFalse(load.HasField("loading"))
            knobs = {knob.name: (knob.value, knob.source)
                     for knob in server.admin.GetConfig(admin_pb2.GetConfigRequest()).knobs}
            self.assertGreater(int(knobs["kv-blocks"][0]), 0)
            self.assertEqual(knobs["log-level"], ("error", admin_pb2.CONFIG_SOURCE_ADMIN), "survives the load")
            ports = json.loads(server.port_file.read_text())
            self.assertEqual(ports, {"grpc": server.address, "metrics": server.metrics_address,
                                     "admin": server.admin_address, "pid": server.process.pid})

    def test_retry_policy_waits_for_the_model(self):
        policy = json.dumps({"methodConfig": [{"name": [{}], "retryPolicy": {
            "maxAttempts": 5, "initialBackoff": "100s", "maxBackoff": "100s", "backoffMultiplier": 1,
            "retryableStatusCodes": ["UNAVAILABLE"]}}]})
        with LoadingDaemon() as server:
            with grpc.insecure_channel(server.address, [("grpc.service_config", policy)]) as channel:
                stub = daemon.generation_pb2_grpc.GenerationStub(channel)
                call = stub.Generate(request(), timeout=daemon.PATIENCE_SECONDS)
                wait_until(lambda: server.sum("requests_finished_total", reason="LOADING") > 0, "it was refused once")
                server.resume()
                self.assertTrue(daemon.Answer(call).text, "pushback brings it back as soon as that makes sense")

    def test_broken_weights_close_the_listeners_with_one_line(self):
        refused = daemon.run("--model", daemon.ROOT / "proto", "--admin-listen", "127.0.0.1:0")
        self.assertEqual((refused.returncode, refused.stderr.count("\n")), (1, 1), refused.stderr)

    def test_admin_drain_ends_it_at_once(self):
        with LoadingDaemon() as server:
            progress = list(server.admin.Drain(admin_pb2.DrainRequest()))
            self.assertEqual(progress[-1].requests_in_flight, 0)
            self.assertEqual(server.end(), 0)

    def test_latentctl_drain_ends_it_at_once(self):
        with LoadingDaemon() as server:
            drain = subprocess.run([BIN / "latentctl", "drain", "--admin", server.admin_address], capture_output=True,
                                   text=True, timeout=daemon.PATIENCE_SECONDS)
            self.assertEqual((drain.returncode, drain.stderr), (0, ""))
            self.assertEqual(server.end(), 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
