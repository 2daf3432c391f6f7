"""Every cause and every state that the metrics tell of, played on as many daemons as that takes."""
import collections
import concurrent.futures
import contextlib
import hashlib
import itertools
import json
import pathlib
import shutil
import signal
import tempfile
import threading

import grpc

import daemon
import laws
import transfers
from daemon import MODEL, Details, held_request, long_request, pb, request, stubborn_channel, wait_until
from doctored_model import copy_with_overflow
from loading_daemon import LoadingDaemon
from raw_http2 import RawClient, framed
from smg import common_pb2
from smg import vllm_engine_pb2 as smg
from smg import vllm_engine_pb2_grpc


def ignore_end(call):
    with contextlib.suppress(grpc.RpcError):
        for _ in call:
            pass


def large_answer(seed=7):
    message = long_request(seed=seed)
    message.output.logprobs = 32
    message.output.token_bytes = True
    return message


def with_timeout(message, milliseconds):
    message.scheduling.timeout.FromMilliseconds(milliseconds)
    return message


class ScriptedLoad:
    """Plays every cause it can on as many daemons as that takes, and keeps the largest value of each sample."""

    def __init__(self):
        self.largest = collections.defaultdict(float)
        self.at_start = None

    @contextlib.contextmanager
    def serving(self, *flags, model=MODEL, token=None):
        with daemon.Daemon(*flags, model=model, token=token) as server:
            series = set(server.metrics())
            yield server
            if server.process.poll() is None:
                server.wait_until_idle()
                after = {name for name in self.scrape(server) if name.startswith("latentd_")}
                assert after <= series, f"series that were not there from the start: {sorted(after - series)}"

    def scrape(self, server):
        samples = server.metrics()
        broken = laws.violations(samples)
        assert not broken, broken
        for name, value in samples.items():
            self.largest[name] = max(self.largest[name], value)
        return samples

    def reason_of(self, call):
        try:
            answer = call()
            return None if answer is None else answer.end.reason
        except grpc.RpcError as error:
            return Details(error).reason

    def play(self):
        self.loading()
        self.ends_of_answers()
        self.refusals()
        self.slow_reader_that_catches_up()
        self.queue_and_deadlines()
        self.queue_full_of_tokens()
        self.logits_that_overflow()
        self.small_steps()
        self.small_cache()
        self.priorities()
        self.models_without_text()
        self.slow_reader_that_does_not()
        self.transfers()
        self.operators()
        self.gateway()
        self.credentials()
        self.stall()
        self.drain()

    def loading(self):
        with LoadingDaemon() as server:
            ignore_end(server.generation.Generate(request()))
            self.scrape(server)

    def ends_of_answers(self):
        with self.serving() as server:
            seed = 0
            while server.once(request(seed=seed, max_tokens=600)).end.reason != pb.END_REASON_EOS:
                seed += 1
                assert seed < 64, "no answer ends by itself"
            whole = server.once(request(max_tokens=48, output=pb.Output(token_ids=True)))
            stop = whole.text[len(whole.text) // 2:][:4]
            # The engine may be tokens ahead of the publisher when the stop string is found, or not: until it was.
            wait_until(lambda: server.once(request(max_tokens=48, stopping=pb.Stopping(stop=[stop])))
                       and self.scrape(server)['latentd_wasted_tokens_total{cause="STOP_STRING"}'] > 0,
                       "tokens past a stop string are discarded")
            server.once(request(max_tokens=48, stopping=pb.Stopping(stop_token_ids=[whole.token_ids[3]])))
            limit = server.models.GetModel(daemon.models_pb2.GetModelRequest()).limits.max_context_tokens
            server.once(pb.GenerateRequest(token_ids=pb.TokenIds(ids=[0] + [100] * (limit - 9)),
                                           stopping=pb.Stopping(max_tokens=64, ignore_eos=True)))
            server.once(request(max_tokens=200, sampling=pb.Sampling(temperature=0),
                                speculation=pb.Speculation(max_drafts=2)))
            server.generation.Score(pb.ScoreRequest(text="Once upon a time"))
            server.generation.GenerateOnce(request())
            messages = [pb.ChatMessage(role="user", content="Hello")]
            ignore_end(server.generation.Chat(pb.ChatRequest(messages=messages, stopping=pb.Stopping(max_tokens=4))))
            server.generation.Tokenize(pb.TokenizeRequest(text="a"))
            server.generation.Detokenize(pb.DetokenizeRequest(token_ids=[5]))
            server.models.ListModels(daemon.models_pb2.ListModelsRequest())
            self.mixed_steps(server)

    def mixed_steps(self, server):
        running = server.generation.Generate(long_request())
        next(running)
        wait_until(lambda: server.once(request(max_tokens=2)) and
                   self.scrape(server)['latentd_step_seconds_count{kind="mixed"}'] > 0, "a prompt beside an answer")
        live = {f'latentd_requests_in_flight{{phase="{phase}"}}' for phase in ("decode",)}
        assert all(self.largest[name] > 0 for name in live), live
        running.cancel()

    def refusals(self):
        with self.serving() as server:
            messages = [pb.ChatMessage(role="user", content="Hello")]
            generate, chat = server.generation.Generate, server.generation.Chat
            ignore_end(generate(pb.GenerateRequest()))
            ignore_end(generate(request(model="gpt")))
            ignore_end(generate(pb.GenerateRequest(token_ids=pb.TokenIds(ids=[5] * 2048))))
            ignore_end(chat(pb.ChatRequest(messages=messages, sampling=pb.Sampling(bad_words=["x"]))))
            live = long_request()
            live.request_id = "mine"
            running = generate(live)
            next(running)
            ignore_end(generate(request(request_id="mine")))
            running.cancel()

    def slow_reader_that_catches_up(self):
        with self.serving() as server, stubborn_channel(server) as channel:
            call = daemon.generation_pb2_grpc.GenerationStub(channel).Generate(large_answer())
            next(call)
            wait_until(lambda: self.scrape(server)['latentd_slow_consumer_total{action="paused"}'] > 0,
                       "the sequence pauses")
            assert self.largest["latentd_stream_backlog_bytes"] > 0
            ignore_end(call)
            self.scrape(server)
            assert self.largest['latentd_slow_consumer_total{action="resumed"}'] > 0, "it goes on"

    def queue_and_deadlines(self):
        with self.serving("--max-rows", "1", "--max-queued-requests", "1") as server:
            running = server.generation.Generate(long_request())
            wait_until(lambda: next(running).HasField("delta"), "the first request runs")
            waiting = server.generation.Generate(with_timeout(request(), 200))
            wait_until(lambda: self.scrape(server)['latentd_requests_in_flight{phase="queued"}'] > 0, "one waits")
            ignore_end(server.generation.Generate(request()))  # QUEUE_FULL
            ignore_end(waiting)  # EXPIRED_IN_QUEUE
            running.cancel()
            server.wait_until_idle()
            # Each of them twice the one before: one ends while it decodes, however fast the machine is.
            reasons = (self.reason_of(lambda: server.once(with_timeout(long_request(), 2 ** exponent)))
                       for exponent in range(16))
            assert "EXPIRED_IN_DECODE" in reasons

    def queue_full_of_tokens(self):
        with self.serving("--max-rows", "1", "--max-queued-tokens", "100") as server:
            message = pb.GenerateRequest(token_ids=pb.TokenIds(ids=[0] + [100] * 79),
                                         stopping=pb.Stopping(max_tokens=1900, ignore_eos=True))
            calls = [server.generation.Generate(message) for _ in range(5)]
            wait_until(lambda: self.scrape(server)['latentd_admission_rejected_total{reason="QUEUE_TOKENS"}'] > 0,
                       "the queue holds no more tokens")
            for call in calls:
                call.cancel()

    def logits_that_overflow(self):
        with tempfile.TemporaryDirectory(prefix="latentd-test-") as folder:
            with self.serving(model=copy_with_overflow(pathlib.Path(folder) / "model")) as server:
                for token in range(200, 400, 4):
                    ignore_end(server.generation.Generate(pb.GenerateRequest(
                        token_ids=pb.TokenIds(ids=[0, token]), stopping=pb.Stopping(max_tokens=1))))

    def small_steps(self):
        """Prompts that take many steps, each of few tokens and few logit rows; none is known to the cache."""
        new_ids = itertools.count(300)
        with self.serving("--max-step-tokens", "16") as server:
            def run(timeout):
                prompt = pb.TokenIds(ids=[next(new_ids)] + [5] * 1800)
                message = pb.GenerateRequest(token_ids=prompt, stopping=pb.Stopping(max_tokens=1, ignore_eos=True))
                return self.reason_of(lambda: server.once(with_timeout(message, timeout)))

            def run_side_by_side(timeout):
                with concurrent.futures.ThreadPoolExecutor(4) as pool:
                    return list(pool.map(run, [timeout] * 4))

            # Each could be in time alone.
            assert any("EXPIRED_IN_PREFILL" in run_side_by_side(2 ** exponent) for exponent in range(16))
            with concurrent.futures.ThreadPoolExecutor(4) as pool:
                ends = [pool.submit(run, 900) for _ in range(4)]
                wait_until(lambda: self.scrape(server)['latentd_requests_in_flight{phase="prefill"}'] > 0 or
                           all(end.done() for end in ends), "a prompt is being computed")
                concurrent.futures.wait(ends)
        with self.serving() as server, concurrent.futures.ThreadPoolExecutor(4) as pool:
            score = pb.ScoreRequest(token_ids=pb.TokenIds(ids=[5] * 1800))
            list(pool.map(lambda _: server.generation.Score(score), range(4)))

    def small_cache(self):
        with self.serving("--kv-blocks", "17", "--max-context-tokens", "1100") as server:
            ignore_end(server.generation.Generate(long_request(max_tokens=1090)))  # KV_CAPACITY_EXCEEDED
            calls = [server.generation.Generate(long_request(seed=seed, max_tokens=900)) for seed in range(2)]
            wait_until(lambda: self.scrape(server)['latentd_queue_wait_reason_total{reason="blocks"}'] > 0,
                       "one waits for blocks")
            for call in calls:
                ignore_end(call)
            assert self.scrape(server)['latentd_preemptions_total{reason="blocks"}'] > 0, "the other lost its own"
            # By now the first prompt's blocks made room for those of others.
            score = pb.ScoreRequest(token_ids=pb.TokenIds(ids=[5] * 900))
            prompt = pb.GenerateRequest(token_ids=pb.TokenIds(ids=[6] * 900), stopping=pb.Stopping(max_tokens=1))
            server.once(prompt)
            server.generation.Score(score)
            server.once(prompt)
            server.once(pb.GenerateRequest(token_ids=prompt.token_ids, cache=pb.Cache(salt="another"),
                                           stopping=prompt.stopping))
            lost = {cause: self.scrape(server)[f'latentd_prefix_cache_lost_tokens_total{{cause="{cause}"}}']
                    for cause in ("eviction", "salt")}
            assert all(lost.values()), lost

    def priorities(self):
        """Several requests of each: some of the highest run, in the place of one that came before."""
        with tempfile.TemporaryDirectory(prefix="latentd-test-") as folder, contextlib.ExitStack() as stack:
            tenants = pathlib.Path(folder) / "tenants.toml"
            tenants.write_text('[[tenant]]\nname = "alpha"\nmax-queued-requests = 1\n')
            server = stack.enter_context(self.serving("--max-rows", "1", "--tenants", tenants))
            alpha = [("x-latentd-tenant", "alpha")]
            ignore_end(server.generation.Generate(request(), metadata=alpha))
            low = server.generation.Generate(long_request())
            wait_until(lambda: next(low).HasField("delta"), "it runs")
            calls = [low]
            for priority in range(-8, 9):
                message = long_request()
                message.scheduling.priority = priority
                calls += [server.generation.Generate(message) for _ in range(2 if priority < 8 else 8)]
            waiting = {f'latentd_requests_waiting{{priority="{priority}"}}' for priority in range(-8, 9)}
            wait_until(lambda: self.scrape(server) and all(self.largest[name] > 0 for name in waiting),
                       "requests of each wait")
            assert self.scrape(server)['latentd_preemptions_total{reason="priority"}'] > 0
            message = request()
            for nanos in (1, 100_000_000):  # at the door, and in the queue
                message.scheduling.ttft_slo.nanos = nanos
                ignore_end(server.generation.Generate(message))  # SLO_UNATTAINABLE
            calls.append(server.generation.Generate(long_request(), metadata=alpha))
            wait_until(lambda: self.scrape(server)['latentd_requests_waiting{priority="0"}'] > 2, "one of alpha waits")
            ignore_end(server.generation.Generate(long_request(), metadata=alpha))  # TENANT_QUOTA
            for call in calls:
                call.cancel()

    def models_without_text(self):
        with tempfile.TemporaryDirectory(prefix="latentd-test-") as folder:
            model = pathlib.Path(folder) / "model"
            shutil.copytree(MODEL, model)
            config = json.loads((model / "tokenizer_config.json").read_text())
            config.pop("chat_template", None)
            (model / "tokenizer_config.json").write_text(json.dumps(config))
            (model / "chat_template.jinja").unlink(missing_ok=True)
            with self.serving(model=model) as server:
                ignore_end(server.generation.Chat(pb.ChatRequest(messages=[pb.ChatMessage(role="user", content="a")])))
            (model / "tokenizer.json").unlink()
            with self.serving(model=model) as server:
                ignore_end(server.generation.Generate(request()))

    def slow_reader_that_does_not(self):
        with self.serving("--slow-consumer-seconds", "0.2") as server, stubborn_channel(server) as channel:
            call = daemon.generation_pb2_grpc.GenerationStub(channel).Generate(large_answer())
            next(call)
            wait_until(lambda: self.scrape(server)['latentd_slow_consumer_total{action="ended"}'] > 0,
                       "the slow reader's request ends")

    def transfers(self):
        with self.serving(*transfers.FLAGS) as server:
            for provoke in transfers.CAUSES.values():
                provoke(server)
                self.scrape(server)
            with RawClient(server.address) as client:
                client.begin("Tokenize")
                wait_until(lambda: self.scrape(server)['latentd_buffered_bytes{kind="requests"}'] > 0, "it is counted")
            message = transfers.detokenize_request(server, transfers.ANSWER_BYTES)
            with RawClient(server.address, window=10) as client:
                client.begin("Detokenize")
                client.send_body(framed(message.SerializeToString()))
                wait_until(lambda: self.scrape(server)['latentd_buffered_bytes{kind="answers"}'] > 0, "so is this")

    def operators(self):
        with self.serving("--admin-listen", "127.0.0.1:0") as server:
            call = server.generation.Generate(long_request())
            next(call)
            pb2, admin = daemon.admin_pb2, server.admin
            ignore_end(admin.ProfileSteps(pb2.ProfileStepsRequest(steps=1)))  # of those that the call takes
            admin.ListRequests(pb2.ListRequestsRequest())
            admin.GetLoad(pb2.GetLoadRequest())
            admin.GetConfig(pb2.GetConfigRequest())
            admin.SetLogLevel(pb2.SetLogLevelRequest(level="info"))
            admin.Abort(pb2.AbortRequest(all=True))  # ADMIN_ABORT
            ignore_end(call)
            admin.FlushPrefixCache(pb2.FlushPrefixCacheRequest())
            ignore_end(admin.DumpFlightRecorder(pb2.DumpFlightRecorderRequest()))
            watch = admin.WatchLoad(pb2.WatchLoadRequest())
            next(watch)
            watch.cancel()
            held = server.generation.Generate(held_request("held"))
            next(held)  # keeps the drain from being over at once
            progress = admin.Drain(pb2.DrainRequest())
            next(progress)
            progress.cancel()
            wait_until(lambda: self.scrape(server)['latentd_requests_finished_total{method="Drain",'
                                                   'grpc_code="CANCELLED",reason="CLIENT_CANCEL"}'] > 0,
                       "Drain is counted when its client is gone")
            held.cancel()
            server.process.wait(daemon.PATIENCE_SECONDS)

    def gateway(self):
        """Each method by which smg drives a worker."""
        with self.serving() as server:
            engine = vllm_engine_pb2_grpc.VllmEngineStub(server.channel)
            engine.HealthCheck(smg.HealthCheckRequest())
            engine.GetModelInfo(smg.GetModelInfoRequest())
            engine.GetServerInfo(smg.GetServerInfoRequest())
            engine.GetLoads(smg.GetLoadsRequest())
            ignore_end(engine.GetTokenizer(common_pb2.GetTokenizerRequest()))
            ignore_end(engine.Generate(smg.GenerateRequest(text="a",
                                                           sampling_params=smg.SamplingParams(max_tokens=2))))
            events = engine.SubscribeKvEvents(common_pb2.SubscribeKvEventsRequest(load_records_before_first_batch=True))
            next(events)
            events.cancel()
            engine.Abort(smg.AbortRequest(request_ids=["unknown"]))
            engine.FlushCache(common_pb2.FlushCacheRequest(timeout_s=daemon.PATIENCE_SECONDS))

    def credentials(self):
        """Each refusal at each listener, and a file that changes to a bad one."""
        with tempfile.TemporaryDirectory(prefix="latentd-test-") as folder:
            tokens = pathlib.Path(folder) / "tokens"
            tokens.write_text("".join(f"{name} {hashlib.sha256(name.encode()).hexdigest()} t {right}\n"
                                      for name, right in (("scraper", "metrics"), ("user", "generate"))))
            with self.serving("--tokens", tokens, "--admin-listen", "127.0.0.1:0", token="scraper") as server:
                for metadata in ([], [("authorization", "Bearer scraper")]):
                    ignore_end(server.generation.Generate(request(), metadata=metadata))
                    self.reason_of(lambda: server.admin.GetLoad(daemon.admin_pb2.GetLoadRequest(), metadata=metadata))
                daemon.http_get(server, "/metrics")
                daemon.http_get(server, "/metrics", Authorization="Bearer user")
                tokens.write_text("bad")
                wait_until(lambda: self.scrape(server)['latentd_credentials_load_failures_total{file="tokens"}'] > 0,
                           "the bad file is counted")

    def stall(self):
        """A prompt's step that takes longer than the patience: a stall by this daemon's own rule."""
        with self.serving("--stall-seconds", "0.01", "--max-step-tokens", "2048", "--max-step-seconds", "10") as server:
            prompt = pb.TokenIds(ids=[5] * 1800)
            message = pb.GenerateRequest(token_ids=prompt, stopping=pb.Stopping(max_tokens=1),
                                         cache=pb.Cache(bypass=True))
            stop = threading.Event()

            def load():
                while not stop.is_set():
                    ignore_end(server.generation.Generate(message))

            with concurrent.futures.ThreadPoolExecutor(1) as pool:
                loading = pool.submit(load)
                try:
                    wait_until(lambda: self.scrape(server)['latentd_state{state="stalled"}'] > 0, "a step is too long")
                    wait_until(lambda: self.scrape(server)['latentd_engine_stalls_total'] > 1, "and another one")
                    assert server.health("latentd.liveness") == 1
                finally:
                    stop.set()
                loading.result()
            wait_until(lambda: self.scrape(server)['latentd_state{state="serving"}'] > 0, "it serves again")
            wait_until(lambda: server.health() == 1, "and says so")

    def drain(self):
        with self.serving("--drain-seconds", "0.3") as server, stubborn_channel(server) as channel:
            # This answer is not read, so the daemon waits for it a moment after it ended the other.
            call = daemon.generation_pb2_grpc.GenerationStub(channel).Generate(large_answer())
            next(call)
            wait_until(lambda: self.scrape(server)['latentd_stream_backlog_bytes'] > 0, "its answer waits")
            other = server.generation.Generate(long_request())
            next(other)
            reader = threading.Thread(target=ignore_end, args=(other,))
            reader.start()
            server.process.send_signal(signal.SIGTERM)
            wait_until(lambda: self.scrape(server)['latentd_state{state="draining"}'] > 0, "it drains")
            assert server.health("latentd.liveness") == 1
            ignore_end(server.generation.Generate(request()))
            wait_until(lambda: self.scrape(server)['latentd_wasted_tokens_total{cause="DRAINING"}'] > 0,
                       "the drain ends a request")
            reader.join()
            server.process.wait(daemon.PATIENCE_SECONDS)
