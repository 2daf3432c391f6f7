"""Every metric moves under a scripted load, the laws hold in each scrape, and a real Prometheus agrees."""
import concurrent.futures
import contextlib
import random
import threading
import unittest
import urllib.request

import grpc

import daemon
import laws
import prometheus
from daemon import long_request, request, wait_until
from scripted_load import ScriptedLoad

LOAD_SEED = 20240611

# Series that this load does not move.
UNSEEN = {
    'latentd_prefix_cache_lost_tokens_total{cause="granularity"}': "needs a cache without any block to spare",
    **{f'latentd_spec_{fate}_tokens_total{{position="{position}"}}': "see speculation_test.py"
       for fate in ("drafted", "accepted") for position in range(3, 9)},
    **{f"latentd_kv_{name}_total": "see kv_events_test.py" for name in ("events_published", "events_missed")},
    **{f'latentd_kv_event_replays_total{{result="{result}"}}': "see kv_events_test.py, kv_events_publisher_test.cc"
       for result in ("whole", "snapshot", "unread", "malformed")},
    **{f'latentd_trace_spans_total{{fate="{fate}"}}': "see traces_test.py"
       for fate in ("exported", "queue_full", "rejected", "failed")},
    "latentd_kv_invariant_violations_total": "no known fault moves it: the tests of the pool break its books",
    **{f'latentd_credentials_{what}_total{{file="{file}"}}': "see tls_test.py"
       for what in ("loads", "load_failures") for file in ("identities", "certificates")},
    **{f'latentd_connections_refused_total{{reason="{reason}"}}': "see connections_test.py and acceptor_test.cc"
       for reason in ("process_limit", "peer_limit", "descriptors")},
    **{f'latentd_connections_cut_off_total{{reason="{reason}"}}': "see hostile_connections_test.py"
       for reason in ("header_block", "header_bytes", "control_frames", "pings", "streams", "unasked_bytes",
                      "uploads")},
}


class MetricsTest(unittest.TestCase):
    def test_each_series_moves_under_a_scripted_load(self):
        load = ScriptedLoad()
        load.play()
        scrape = laws.Scrape(load.largest)
        for label, name in (("method", "requests_received_total"), ("method", "requests_finished_total"),
                            ("reason", "requests_finished_total"), ("outcome", "request_duration_seconds_count"),
                            ("outcome", "queue_seconds_count"), ("cause", "wasted_tokens_total"),
                            ("reason", "admission_rejected_total")):
            still = {value for value in scrape.values_of(name, label) if not scrape.sum(name, **{label: value})}
            self.assertEqual(still, set(), name)
        names_by_outcome = {f"latentd_{name}_seconds_count" for name in (
            "prefill", "time_to_first_token", "decode", "inter_token_latency", "time_per_output_token", "preempted",
            "cancel_to_release")}
        covered = names_by_outcome | {"latentd_requests_received_total", "latentd_requests_finished_total",
                                      "latentd_request_duration_seconds_count", "latentd_queue_seconds_count",
                                      "latentd_wasted_tokens_total", "latentd_admission_rejected_total"}
        for name in names_by_outcome:
            self.assertGreater(scrape.sum(name.removeprefix("latentd_")), 0, name)
        still = [sample for sample, value in load.largest.items()
                 if not value and sample.split("{")[0] not in covered and sample not in UNSEEN
                 and not sample.split("{")[0].endswith(("_bucket", "_sum"))]
        self.assertEqual(still, [])

    def test_laws_hold_in_100_scrapes_under_load_with_cancels_and_deadlines(self):
        with daemon.Daemon("--max-rows", "4", "--max-queued-requests", "16") as server:
            stop = threading.Event()

            def run(worker):
                source = random.Random(LOAD_SEED + worker)
                while not stop.is_set():
                    message = long_request(seed=source.randrange(1 << 30), max_tokens=source.choice([8, 40, 200]))
                    message.text = "Once upon a time there was a king. " * source.randrange(1, 40)
                    if source.random() < 0.3:
                        message.scheduling.timeout.nanos = source.randrange(1_000_000, 80_000_000)
                    timeout = source.choice([None, None, 0.05])
                    call = server.generation.Generate(message, timeout=timeout)
                    with contextlib.suppress(grpc.RpcError):
                        for event in call:
                            if event.delta.tokens_so_far >= 4 and source.random() < 0.1:
                                call.cancel()

            with concurrent.futures.ThreadPoolExecutor(12) as pool:
                workers = [pool.submit(run, worker) for worker in range(12)]
                try:
                    moments = set()
                    while len(moments) < 100:
                        samples = server.metrics()
                        self.assertEqual(laws.violations(samples), [], f"seed {LOAD_SEED}")
                        moments.add((samples["latentd_step_rows_count"],
                                     laws.Scrape(samples).sum("requests_finished_total")))
                finally:
                    stop.set()
                for worker in workers:
                    worker.result()
            server.wait_until_idle()
            self.assertEqual(laws.violations(server.metrics()), [])
            for reason in ("CLIENT_CANCEL", "MAX_TOKENS"):
                self.assertGreater(server.sum("requests_finished_total", reason=reason), 0, reason)
            self.assertGreater(server.sum("deadline_exceeded_total"), 0)
            self.assertEqual(server.sum("prompt_tokens_pending"), 0)
            self.assertEqual(server.sum("stream_backlog_bytes"), 0)

    def test_laws_are_able_to_fail(self):
        with daemon.Daemon() as server:
            samples = server.metrics()
        for name in ('latentd_requests_in_flight{phase="queued"}', 'latentd_kv_blocks{state="active"}',
                     "latentd_prompt_tokens_pending", "latentd_step_rows_count",
                     'latentd_spec_accepted_tokens_total{position="1"}',
                     'latentd_spec_accepted_tokens_total{position="2"}'):
            self.assertNotEqual(laws.violations({**samples, name: samples[name] + 1}), [], name)

    def test_prometheus_scrapes_and_answers_and_promtool_has_no_complaint(self):
        with daemon.Daemon() as server, prometheus.Prometheus(server.metrics_address) as scraper:
            calls = 0
            rate = 'rate(latentd_generated_tokens_total{outcome="delivered"}[30s])'

            def busy():
                nonlocal calls
                server.once(request(seed=calls))
                calls += 1
                return (scraper.value(rate) or 0) > 0

            wait_until(busy, "the rate of generated tokens is positive")
            server.wait_until_idle()
            wait_until(lambda: scraper.value("sum(latentd_requests_finished_total)") == calls, "the last is scraped")
            quantile = "histogram_quantile(0.99, sum by (le) (rate(latentd_time_to_first_token_seconds_bucket[30s])))"
            wait_until(lambda: (scraper.value(quantile) or 0) > 0, "a quantile of the time to the first token")
            law = ("sum(latentd_requests_received_total) - sum(latentd_requests_finished_total)"
                   " - sum(latentd_requests_in_flight)")
            self.assertEqual(scraper.value(law), 0)
            self.assertEqual(scraper.value("sum(latentd_kv_blocks) - sum(latentd_kv_blocks_capacity)"), 0)
            law = 'sum(latentd_prompt_tokens_total{source!="recomputed"}) - sum(latentd_prompt_tokens_admitted_total)'
            self.assertEqual(scraper.value(law), 0)
            with urllib.request.urlopen(f"http://{server.metrics_address}/metrics") as page:
                self.assertEqual(prometheus.check_metrics(page.read().decode()), "")
        self.assertNotEqual(prometheus.check_metrics("# TYPE a counter\na 1\n"), "", "promtool can complain")


if __name__ == "__main__":
    unittest.main(verbosity=2)
