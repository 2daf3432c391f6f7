"""Spans as a collector gets them: what they tell, what they keep to themselves; and collectors that take none."""
import contextlib
import threading
import time
import unittest

import grpc
from google.protobuf import any_pb2, duration_pb2

import daemon
from daemon import Daemon, long_request, pb, request, wait_until
from google.rpc import error_details_pb2, status_pb2
from otlp_collector import Collector, attributes_of, otlp

TRACE_ID, PARENT_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE_ID}-{PARENT_ID}-01"


def fates(server):
    names = ("exported", "queue_full", "rejected", "failed")
    counts = {name: server.sum("trace_spans_total", fate=name) for name in names}
    return {name: count for name, count in counts.items() if count}


def generate(server, message, traceparent=None):
    metadata = [("traceparent", traceparent)] if traceparent else []
    return list(server.generation.Generate(message, metadata=metadata, timeout=daemon.PATIENCE_SECONDS))


def ends_of(span):
    return [event.name for event in span.events]


class SpanTest(unittest.TestCase):
    def test_request_is_a_child_of_its_callers_span(self):
        message = request("A secret fox", max_tokens=6, seed=11, stopping=pb.Stopping(stop=["hidden stop"]))
        message.request_id = "span-1"
        began = time.time_ns()
        with Collector() as collector, Daemon("--otlp-endpoint", collector.endpoint) as server:
            metadata = (("traceparent", TRACEPARENT), ("x-latentd-tenant", "acme"))
            events = list(server.generation.Generate(message, metadata=metadata))
            [span] = collector.await_spans(1)
            wait_until(lambda: fates(server) == {"exported": 1}, "it is counted")
        text = "".join(event.delta.text for event in events)
        self.assertEqual((span.trace_id.hex(), span.parent_span_id.hex()), (TRACE_ID, PARENT_ID))
        self.assertEqual((len(span.span_id), span.kind, span.status.code), (8, 2, 0))
        self.assertEqual(span.name, "text_completion tiny-tales")
        self.assertEqual(ends_of(span), ["queued", "admitted", "first token", "end"])
        moments = [span.start_time_unix_nano, *(event.time_unix_nano for event in span.events)]
        self.assertEqual(moments, sorted(moments))
        self.assertTrue(began - 1e9 < moments[0] <= moments[-1] < time.time_ns() + 1e9, moments)
        found = attributes_of(span)
        completed = events[-1].completed
        wanted = {"gen_ai.operation.name": "text_completion", "gen_ai.request.model": "tiny-tales",
                  "gen_ai.response.id": "span-1", "gen_ai.request.max_tokens": 6, "gen_ai.request.seed": 11,
                  "gen_ai.usage.input_tokens": completed.usage.prompt_tokens,
                  "gen_ai.usage.output_tokens": completed.usage.generated_tokens,
                  "gen_ai.usage.cache_read.input_tokens": 0, "gen_ai.response.finish_reasons": ["length"],
                  "rpc.method": "Generate", "rpc.grpc.status_code": 0, "latentd.tenant": "acme",
                  "latentd.reason": "MAX_TOKENS"}
        self.assertEqual({key: found.get(key) for key in wanted}, wanted)
        sent = b"".join(batch.SerializeToString() for batch in collector.requests)
        for secret in ("secret fox", "hidden stop", text):
            self.assertNotIn(secret.encode(), sent)
        resource = attributes_of(collector.requests[0].resource_spans[0].resource)
        self.assertEqual(resource["service.name"], "latentd")

    def test_each_outcome_is_told(self):
        with Collector() as collector, Daemon("--otlp-endpoint", collector.endpoint) as server:
            server.generation.Score(pb.ScoreRequest(text="Once upon a time"))
            chat = pb.ChatRequest(messages=[pb.ChatMessage(role="user", content="Tell me")])
            chat.stopping.max_tokens = 2
            list(server.generation.Chat(chat))
            with self.assertRaises(grpc.RpcError):
                generate(server, pb.GenerateRequest(text="x", sampling=pb.Sampling(temperature=-1)))
            call = server.generation.Generate(long_request())
            next(call), next(call)
            call.cancel()
            server.generation.Tokenize(pb.TokenizeRequest(text="no span"))
            by_reason = {}
            for span in collector.await_spans(4):
                by_reason[attributes_of(span)["latentd.reason"]] = span
            server.wait_until_idle()
        self.assertEqual(len(collector.spans()), 4)
        self.assertEqual(ends_of(by_reason.pop("INVALID_FIELD")), ["end"])
        cancelled = by_reason.pop("CLIENT_CANCEL")
        self.assertEqual((attributes_of(cancelled)["error.type"], cancelled.status.code), ("CLIENT_CANCEL", 0))
        self.assertEqual(attributes_of(by_reason.pop("SCORED"))["gen_ai.operation.name"], "score")
        [rest] = by_reason.values()
        self.assertEqual(rest.name, "chat tiny-tales")

    def test_the_callers_choice_counts_and_nonsense_does_not(self):
        with Collector() as collector, Daemon("--otlp-endpoint", collector.endpoint) as server:
            generate(server, request(max_tokens=1), f"00-{TRACE_ID}-{PARENT_ID}-00")  # not sampled
            for malformed in (f"00-{TRACE_ID}-{PARENT_ID}", f"00-{'0' * 32}-{PARENT_ID}-01", "garbage"):
                generate(server, request(max_tokens=1), malformed)
            generate(server, request(max_tokens=1))
            spans = collector.await_spans(4)
        self.assertEqual(len(collector.spans()), 4)
        self.assertEqual({span.parent_span_id for span in spans}, {b""})
        self.assertEqual(len({span.trace_id for span in spans}), 4)
        self.assertNotIn(TRACE_ID, {span.trace_id.hex() for span in spans})

    def test_preemption_is_an_event(self):
        flags = ("--kv-blocks", "9", "--max-rows", "4", "--max-context-tokens", "400", "--prefix-cache", "off")
        with Collector() as collector, Daemon("--otlp-endpoint", collector.endpoint, *flags) as server:
            calls = [server.generation.Generate(long_request(seed=seed, max_tokens=300)) for seed in range(4)]
            for call in calls:
                list(call)
            spans = collector.await_spans(4)
            self.assertGreater(server.sum("preemptions_total"), 0)
        preempted = [event for span in spans for event in span.events if event.name == "preempted"]
        self.assertTrue(preempted)
        self.assertGreaterEqual(attributes_of(preempted[0])["latentd.preemptions"], 1)

    def test_many_arrive_in_few_batches(self):
        with Collector() as collector, Daemon("--otlp-endpoint", collector.endpoint) as server:
            calls = [server.generation.GenerateOnce.future(request(seed=seed, max_tokens=1)) for seed in range(64)]
            for call in calls:
                call.result()
            collector.await_spans(64)
        self.assertEqual(len({span.span_id for span in collector.spans()}), 64)
        self.assertLess(len(collector.requests), 32)


class CollectorTest(unittest.TestCase):
    def test_what_it_rejects_is_counted_and_not_sent_again(self):
        def rejects_one(*_):
            return otlp.ExportTraceServiceResponse(partial_success=otlp.ExportTracePartialSuccess(
                rejected_spans=1, error_message="one is enough"))
        with Collector(rejects_one) as collector, Daemon("--otlp-endpoint", collector.endpoint) as server:
            server.once(request(max_tokens=1))
            wait_until(lambda: fates(server) == {"rejected": 1}, "the rejected span is counted")
            server.await_log("1 rejected: 'one is enough'")
            self.assertEqual(len(collector.requests), 1)

    def test_what_cannot_be_sent_again_is_given_up(self):
        def refuses(_, context):
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no such thing")
        with Collector(refuses) as collector, Daemon("--otlp-endpoint", collector.endpoint) as server:
            server.once(request(max_tokens=1))
            wait_until(lambda: fates(server) == {"failed": 1}, "the span is given up")
            self.assertEqual(len(collector.requests), 1)

    def test_a_collector_that_comes_back_gets_what_waited(self):
        with Collector() as collector:
            address = f"127.0.0.1:{collector.port}"
        with Daemon("--otlp-endpoint", f"http://{address}") as server:
            server.once(request(max_tokens=1))
            server.await_log(f"expected {address} to take spans, found status 14")
            self.assertEqual(fates(server), {})
            self.assertEqual(server.health(), 1)
            with Collector(address=address) as collector:
                collector.await_spans(1)
                server.await_log(f"{address} takes spans again")
                wait_until(lambda: fates(server) == {"exported": 1}, "it is counted once")

    def test_waits_as_long_as_it_is_asked_to(self):
        moments = []

        def asks_for_time(_, context):
            moments.append(time.monotonic())
            if len(moments) == 1:
                detail = any_pb2.Any()
                detail.Pack(error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(seconds=2)))
                status = status_pb2.Status(code=8, message="later", details=[detail])
                context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
                context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "later")
        with Collector(asks_for_time) as collector, Daemon("--otlp-endpoint", collector.endpoint) as server:
            server.once(request(max_tokens=1))
            wait_until(lambda: fates(server) == {"exported": 1}, "the second try succeeds")
        self.assertGreaterEqual(moments[1] - moments[0], 2.0)

    def test_drain_sends_what_is_left(self):
        with Collector() as collector:
            with Daemon("--otlp-endpoint", collector.endpoint) as server:
                server.once(request(max_tokens=1))
            self.assertEqual(len(collector.spans()), 1)

    def test_a_slow_collector_delays_no_call_and_the_end_by_two_seconds_at_most(self):
        free = threading.Event()

        def stands(*_):
            free.wait()
        with Collector(stands) as collector:
            with contextlib.ExitStack() as stack:
                stack.callback(free.set)
                with Daemon("--otlp-endpoint", collector.endpoint) as server:
                    server.once(request(max_tokens=1))
                    wait_until(lambda: collector.requests, "the collector holds a batch")
                    for seed in range(8):
                        server.once(request(seed=seed, max_tokens=1))
                    self.assertEqual(fates(server), {})
                    server.disconnect()
                    stopped = time.monotonic()
                    server.process.terminate()
                    self.assertEqual(server.process.wait(daemon.PATIENCE_SECONDS), 0)
                    self.assertGreaterEqual(time.monotonic() - stopped, 1.5, "it was given its time")


if __name__ == "__main__":
    unittest.main(verbosity=2)
