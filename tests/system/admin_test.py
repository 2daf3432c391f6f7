"""The Admin service, every method, over the real daemon: what operators see and what their clients' requests become."""
import json
import threading
import unittest

import grpc
from google.protobuf import duration_pb2

import daemon
from daemon import (Daemon, Details, HOLD_TWO, PATIENCE_SECONDS, admin_pb2, held_request, long_request, models_pb2,
                    pb, request, stubborn_channel, wait_until)

ADMIN = ("--admin-listen", "127.0.0.1:0")
ABORTED = admin_pb2.AbortResult.OUTCOME_ABORTED
NOT_FOUND = admin_pb2.AbortResult.OUTCOME_NOT_FOUND
QUEUED, PREFILL, DECODE = (admin_pb2.REQUEST_PHASE_QUEUED, admin_pb2.REQUEST_PHASE_PREFILL,
                           admin_pb2.REQUEST_PHASE_DECODE)


def seconds(duration):
    return duration.seconds + duration.nanos * 1e-9


def begin(server, message):
    """A stream that has got its first token."""
    call = server.generation.Generate(message)
    wait_until(lambda: next(call).HasField("delta"), "the stream answers")
    return call


class AdminTestCase(unittest.TestCase):
    def failure(self, call):
        with self.assertRaises(grpc.RpcError) as caught:
            result = call()
            list(result) if hasattr(result, "__next__") else None
        return Details(caught.exception)

    def assert_refused(self, call, field):
        details = self.failure(call)
        self.assertEqual((details.code, details.reason, details.fields),
                         (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", [field]))
        return details

    def assert_aborted(self, call):
        details = self.failure(lambda: call)
        self.assertEqual((details.code, details.reason), (grpc.StatusCode.ABORTED, "ADMIN_ABORT"))

    def assert_blocks_home(self, server):
        server.wait_until_idle()
        load = server.admin.GetLoad(admin_pb2.GetLoadRequest())
        self.assertEqual(load.kv_blocks_active, 0)
        self.assertEqual(load.kv_blocks_free + load.kv_blocks_cached, load.kv_blocks_total - 1,
                         "all but the scratch block")


class AdminTest(AdminTestCase):
    @classmethod
    def setUpClass(cls):
        cls.daemon = cls.enterClassContext(Daemon(*ADMIN, *HOLD_TWO))
        cls.admin = cls.daemon.admin

    def tearDown(self):
        self.assert_blocks_home(self.daemon)

    def live(self):
        return {entry.request_id: entry for entry in
                self.admin.ListRequests(admin_pb2.ListRequestsRequest(), timeout=PATIENCE_SECONDS).requests}

    def abort(self, *ids):
        result = self.admin.Abort(admin_pb2.AbortRequest(request_ids=ids))
        return [(entry.request_id, entry.outcome) for entry in result.entries]

    def fill_rows(self):
        return [begin(self.daemon, held_request(f"row-{i}", i)) for i in range(2)]

    # --------------------------------------------------------------------------------------------------------- abort

    def test_abort_in_decode_is_idempotent(self):
        call = begin(self.daemon, held_request("mine"))
        self.assertEqual(self.abort("mine", "nobody"), [("mine", ABORTED), ("nobody", NOT_FOUND)])
        self.assert_aborted(call)
        wait_until(lambda: "mine" not in self.live(), "the request is gone")
        self.assertEqual(self.abort("mine"), [("mine", NOT_FOUND)])

    def test_abort_in_the_queue(self):
        rows = self.fill_rows()
        queued = self.daemon.generation.Generate(held_request("queued"))
        wait_until(lambda: "queued" in self.live(), "the request is queued")
        self.assertEqual(self.live()["queued"].phase, QUEUED)
        self.assertEqual(self.abort("queued"), [("queued", ABORTED)])
        self.assert_aborted(queued)
        for row in rows:
            self.assertEqual([event for event in row][-1].WhichOneof("event"), "completed", "the others go on")

    def test_abort_all(self):
        calls = [*self.fill_rows(), self.daemon.generation.Generate(held_request("queued"))]
        wait_until(lambda: len(self.live()) == 3, "all three are live")
        result = self.admin.Abort(admin_pb2.AbortRequest(all=True))
        self.assertEqual({(entry.request_id, entry.outcome) for entry in result.entries},
                         {("row-0", ABORTED), ("row-1", ABORTED), ("queued", ABORTED)})
        for call in calls:
            self.assert_aborted(call)
        self.daemon.wait_until_idle()
        self.assertEqual(len(self.admin.Abort(admin_pb2.AbortRequest(all=True)).entries), 0)

    def test_abort_of_a_unary_call(self):
        future = self.daemon.generation.GenerateOnce.future(held_request("once"))
        wait_until(lambda: "once" in self.live(), "the request is live")
        self.assertEqual(self.live()["once"].method, "GenerateOnce")
        self.abort("once")
        self.assert_aborted_future(future)

    def assert_aborted_future(self, future):
        details = self.failure(future.result)
        self.assertEqual((details.code, details.reason), (grpc.StatusCode.ABORTED, "ADMIN_ABORT"))

    def test_abort_wants_ids_or_all_and_not_both(self):
        self.assert_refused(lambda: self.admin.Abort(admin_pb2.AbortRequest()), "request_ids")
        self.assert_refused(lambda: self.admin.Abort(admin_pb2.AbortRequest(request_ids=["a"], all=True)),
                            "request_ids")

    # ---------------------------------------------------------------------------------------------------------- load

    def test_load_counts_phases_queue_and_tokens(self):
        rows = self.fill_rows()
        queued = self.daemon.generation.Generate(held_request("queued"))
        wait_until(lambda: "queued" in self.live(), "the request is queued")
        prompt_tokens = self.live()["queued"].prompt_tokens
        load = self.admin.GetLoad(admin_pb2.GetLoadRequest())
        self.assertEqual((load.requests_queued, load.requests_prefill, load.requests_decode), (1, 0, 2))
        self.assertEqual(load.tokens_queued, prompt_tokens)
        self.assertGreater(load.kv_blocks_active, 0)
        self.assertEqual(load.kv_blocks_active + load.kv_blocks_free + load.kv_blocks_cached + 1, load.kv_blocks_total)
        self.assertFalse(load.draining)
        for call in (*rows, queued):
            call.cancel()

    def test_rates_and_latencies_are_of_the_last_seconds(self):
        for _ in range(3):
            self.daemon.once(long_request(max_tokens=50))
        load = self.admin.GetLoad(admin_pb2.GetLoadRequest())
        self.assertGreater(load.generated_tokens_per_second, 0.0)
        self.assertGreater(load.prompt_tokens_per_second, 0.0)
        self.assertGreater(load.time_to_first_token.p50_seconds, 0.0)
        self.assertGreaterEqual(load.inter_token_latency.p99_seconds, load.inter_token_latency.p50_seconds)

    def test_watch_load_reports_until_its_client_leaves(self):
        interval = duration_pb2.Duration(nanos=100_000_000)
        watch = self.admin.WatchLoad(admin_pb2.WatchLoadRequest(interval=interval))
        times = [next(watch).time.ToNanoseconds() for _ in range(3)]
        self.assertGreaterEqual(times[1] - times[0], 90_000_000)
        self.assertGreaterEqual(times[2] - times[1], 90_000_000)
        watch.cancel()
        outcome = ('latentd_requests_finished_total{method="WatchLoad",grpc_code="CANCELLED",'
                   'reason="CLIENT_CANCEL"}')
        wait_until(lambda: self.daemon.metrics()[outcome] >= 1, "the watch is counted")

    def test_watch_load_interval_has_bounds(self):
        for bad in (duration_pb2.Duration(nanos=99_000_000), duration_pb2.Duration(seconds=3601),
                    duration_pb2.Duration(seconds=-1)):
            message = admin_pb2.WatchLoadRequest(interval=bad)
            self.assert_refused(lambda: self.admin.WatchLoad(message), "interval")

    # ------------------------------------------------------------------------------------------------------ requests

    def test_list_requests_tells_where_each_stands(self):
        rows = self.fill_rows()
        queued = self.daemon.generation.Generate(held_request("queued"))
        wait_until(lambda: "queued" in self.live(), "the request is queued")
        live = self.live()
        self.assertEqual(list(live), ["row-0", "row-1", "queued"], "oldest first")
        row, waiting = live["row-0"], live["queued"]
        self.assertEqual((row.phase, row.method, row.priority), (DECODE, "Generate", 0))
        self.assertGreaterEqual(row.generated_tokens, 1)
        self.assertEqual(row.computed_tokens, row.prompt_tokens + row.generated_tokens - 1)
        self.assertGreaterEqual(row.kv_blocks, 1)
        self.assertGreaterEqual(seconds(row.age), seconds(row.phase_age))
        self.assertGreater(seconds(row.phase_age), 0.0)
        self.assertEqual((waiting.phase, waiting.computed_tokens, waiting.generated_tokens, waiting.kv_blocks),
                         (QUEUED, 0, 0, 0))
        self.assertGreater(waiting.prompt_tokens, 0)
        for call in (*rows, queued):
            call.cancel()

    def test_answer_that_nobody_reads_has_pending_output(self):
        with stubborn_channel(self.daemon) as channel:
            call = daemon.generation_pb2_grpc.GenerationStub(channel).Generate(held_request("unread"))
            next(call)
            wait_until(lambda: self.live()["unread"].pending_output_bytes > 1024, "output waits for its reader")
            self.assertEqual(self.live()["unread"].phase, DECODE)
            call.cancel()

    # ------------------------------------------------------------------------------------------------- configuration

    def knobs(self):
        return {knob.name: (knob.value, knob.source) for knob in
                self.admin.GetConfig(admin_pb2.GetConfigRequest()).knobs}

    def test_config_shows_value_and_source(self):
        knobs = self.knobs()
        self.assertEqual(knobs["max-started"], ("2", admin_pb2.CONFIG_SOURCE_FLAG))
        self.assertEqual(knobs["max-queued-requests"], ("256", admin_pb2.CONFIG_SOURCE_DEFAULT))

    def test_log_level_changes_at_once_and_shows_in_the_config(self):
        self.assertEqual(self.knobs()["log-level"][0], "info")
        for level, previous in (("error", "info"), ("debug", "error"), ("off", "debug"), ("info", "off")):
            result = self.admin.SetLogLevel(admin_pb2.SetLogLevelRequest(level=level))
            self.assertEqual(result.previous_level, previous)
            self.assertEqual(self.knobs()["log-level"], (level, admin_pb2.CONFIG_SOURCE_ADMIN))

    def test_unknown_log_level_is_refused_with_the_names(self):
        for level in ("loud", "", "INFO", "warn"):
            message = admin_pb2.SetLogLevelRequest(level=level)
            details = self.assert_refused(lambda: self.admin.SetLogLevel(message), "level")
            self.assertIn("trace, debug, info, warning, error, off", details.message)

    # ------------------------------------------------------------------------------------------------- every method

    def test_malformed_bytes_are_invalid_argument_on_every_method(self):
        for method in ("Abort", "Drain", "GetLoad", "WatchLoad", "ListRequests", "FlushPrefixCache", "GetConfig",
                       "SetLogLevel", "DumpFlightRecorder", "ProfileSteps"):
            streams = method in ("Drain", "WatchLoad", "DumpFlightRecorder", "ProfileSteps")
            make = self.daemon.admin_channel.unary_stream if streams else self.daemon.admin_channel.unary_unary
            call = make(f"/latentd.v1.Admin/{method}", lambda m: m, lambda m: m)
            details = self.failure(lambda: call(b"\xff\xff\xff"))
            self.assertEqual((details.code, details.reason),
                             (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD"), method)

    def test_every_admin_rpc_is_counted_once(self):
        self.admin.GetLoad(admin_pb2.GetLoadRequest())
        self.daemon.wait_until_idle()
        samples = self.daemon.metrics()
        for method in ("Abort", "GetLoad", "WatchLoad", "ListRequests", "GetConfig", "SetLogLevel"):
            received = samples[f'latentd_requests_received_total{{method="{method}"}}']
            finished = sum(value for name, value in samples.items()
                           if name.startswith("latentd_requests_finished_total") and f'method="{method}"' in name)
            self.assertEqual(received, finished, method)

    def test_the_admin_address_also_names_the_model_and_its_health(self):
        models = daemon.models_pb2_grpc.ModelsStub(self.daemon.admin_channel)
        self.assertEqual(models.GetModel(models_pb2.GetModelRequest()),
                         self.daemon.models.GetModel(models_pb2.GetModelRequest()))

    def test_admin_is_served_on_its_own_address_only(self):
        stub = daemon.admin_pb2_grpc.AdminStub(self.daemon.channel)
        with self.assertRaises(grpc.RpcError) as caught:
            stub.GetLoad(admin_pb2.GetLoadRequest())
        self.assertEqual(caught.exception.code(), grpc.StatusCode.UNIMPLEMENTED)


class PrefillTest(AdminTestCase):
    def test_abort_in_prefill(self):
        # One token a step: a prompt of a thousand takes a thousand steps.
        with Daemon(*ADMIN, "--max-step-tokens", "1") as server:
            ids = pb.TokenIds(ids=[100] * 1000)
            message = pb.GenerateRequest(token_ids=ids, request_id="long",
                                         stopping=pb.Stopping(max_tokens=10, ignore_eos=True))
            call = server.generation.Generate(message)
            phases = []

            def in_prefill():
                live = server.admin.ListRequests(admin_pb2.ListRequestsRequest()).requests
                phases.extend(entry.phase for entry in live)
                return PREFILL in phases
            wait_until(in_prefill, "the request is computing its prompt")
            result = server.admin.Abort(admin_pb2.AbortRequest(request_ids=["long"]))
            self.assertEqual(result.entries[0].outcome, ABORTED)
            self.assert_aborted(call)
            self.assert_blocks_home(server)


class OffTest(unittest.TestCase):
    def test_admin_is_off_unless_it_is_asked_for(self):
        with Daemon() as server:
            self.assertEqual(set(json.loads((server.folder / "ports.json").read_text())),
                             {"grpc", "metrics", "pid"})
            stub = daemon.admin_pb2_grpc.AdminStub(server.channel)
            with self.assertRaises(grpc.RpcError) as caught:
                stub.GetLoad(admin_pb2.GetLoadRequest())
            self.assertEqual(caught.exception.code(), grpc.StatusCode.UNIMPLEMENTED)


class DrainTest(AdminTestCase):
    def drain(self, server, timeout_seconds=None):
        message = admin_pb2.DrainRequest()
        if timeout_seconds is not None:
            message.timeout.FromNanoseconds(int(timeout_seconds * 1e9))
        return server.admin.Drain(message)

    def assert_exits(self, server):
        self.assertEqual(server.process.wait(PATIENCE_SECONDS), 0, server.log_text())

    def test_idle_daemon_drains_at_once(self):
        with Daemon(*ADMIN) as server:
            progress = list(self.drain(server))
            self.assertEqual(progress[-1].requests_in_flight, 0)
            self.assert_exits(server)

    def test_drain_under_load_reports_progress_and_loses_nothing(self):
        with Daemon(*ADMIN, *HOLD_TWO) as server:
            server.health()
            calls = [begin(server, held_request(f"row-{seed}", seed)) for seed in range(2)]
            calls.append(server.generation.Generate(held_request("queued")))
            wait_until(lambda: server.admin.GetLoad(admin_pb2.GetLoadRequest()).requests_queued == 1, "one waits")
            call = self.drain(server, 600)
            first = next(call)
            self.assertEqual(first.requests_in_flight, 3)
            self.assertLessEqual(seconds(first.remaining), 600.0)
            self.assertGreater(seconds(first.remaining), 500.0)
            details = self.failure(lambda: server.generation.Generate(request()))
            self.assertEqual((details.code, details.reason), (grpc.StatusCode.UNAVAILABLE, "DRAINING"))
            self.assertEqual(server.health(), 2)
            self.assertTrue(server.admin.GetLoad(admin_pb2.GetLoadRequest()).draining)
            readers = [threading.Thread(target=self.read_whole, args=(stream,)) for stream in calls]
            for reader in readers:
                reader.start()
            progress = [first, *call]
            for reader in readers:
                reader.join()
            self.assertEqual(progress[-1].requests_in_flight, 0)
            counts = [entry.requests_in_flight for entry in progress]
            self.assertEqual(counts, sorted(counts, reverse=True))
            self.assertEqual(call.code(), grpc.StatusCode.OK)
            self.assertEqual(self.whole_answers, 3)
            self.assert_exits(server)

    whole_answers = 0
    lock = threading.Lock()

    def read_whole(self, stream):
        last = [event for event in stream][-1]
        with self.lock:
            self.whole_answers += last.completed.usage.generated_tokens == 1900

    def test_drain_cancels_at_its_timeout(self):
        with Daemon(*ADMIN) as server:
            calls = [begin(server, long_request(seed)) for seed in range(4)]
            progress = list(self.drain(server, 0))
            for call in calls:
                details = self.failure(lambda: call)
                self.assertEqual((details.code, details.reason), (grpc.StatusCode.UNAVAILABLE, "DRAINING"))
            self.assertEqual(progress[-1].requests_in_flight, 0)
            self.assert_exits(server)

    def test_default_timeout_is_drain_seconds(self):
        with Daemon(*ADMIN, "--drain-seconds", "0.05") as server:
            calls = [begin(server, long_request(seed)) for seed in range(4)]
            list(self.drain(server))
            for call in calls:
                self.assertEqual(self.failure(lambda: call).reason, "DRAINING")
            self.assert_exits(server)

    def test_client_that_leaves_does_not_undo_the_drain(self):
        with Daemon(*ADMIN, *HOLD_TWO) as server:
            stream = begin(server, held_request("held"))
            call = self.drain(server, 600)
            next(call)
            call.cancel()
            self.assertEqual(self.failure(lambda: server.generation.Generate(request())).reason, "DRAINING")
            self.assertEqual([event for event in stream][-1].completed.usage.generated_tokens, 1900)
            self.assert_exits(server)

    def test_second_drain_joins_the_first(self):
        with Daemon(*ADMIN, *HOLD_TWO) as server:
            stream = begin(server, held_request("held"))
            first = self.drain(server, 600)
            next(first)
            second = self.drain(server, 0)
            self.assertGreater(seconds(next(second).remaining), 500.0)
            self.assertEqual([event for event in stream][-1].completed.usage.generated_tokens, 1900)
            for call in (first, second):
                self.assertEqual([entry.requests_in_flight for entry in call][-1], 0)
                self.assertEqual(call.code(), grpc.StatusCode.OK)
            self.assert_exits(server)

    def test_watches_end_with_the_server(self):
        with Daemon(*ADMIN) as server:
            watch = server.admin.WatchLoad(admin_pb2.WatchLoadRequest(interval=duration_pb2.Duration(seconds=3600)))
            next(watch)
            list(self.drain(server))
            self.assertTrue([load for load in watch][-1].draining)
            self.assertEqual(watch.code(), grpc.StatusCode.OK)
            self.assert_exits(server)

    def test_signal_ends_watches_and_joins_a_drain(self):
        with Daemon(*ADMIN, *HOLD_TWO, "--drain-seconds", "0.05") as server:
            stream = begin(server, held_request("held"))
            call = self.drain(server, 86400)
            next(call)
            server.process.terminate()
            self.assertEqual(self.failure(lambda: stream).reason, "DRAINING")
            self.assertEqual([entry.requests_in_flight for entry in call][-1], 0)
            self.assert_exits(server)

    def test_timeout_has_bounds(self):
        with Daemon(*ADMIN) as server:
            for bad in (duration_pb2.Duration(seconds=-1), duration_pb2.Duration(seconds=86401)):
                self.assert_refused(lambda: server.admin.Drain(admin_pb2.DrainRequest(timeout=bad)), "timeout")
            self.assertEqual(server.health(), 1)


if __name__ == "__main__":
    unittest.main(verbosity=2)
