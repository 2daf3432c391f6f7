"""What else than Generate the gateway smg asks of a worker, by our own stubs, and the metrics that pickers read."""
import hashlib
import io
import json
import pathlib
import shutil
import tempfile
import threading
import unittest
import zipfile

import grpc

import daemon
from daemon import MODEL, PATIENCE_SECONDS, Details, wait_until
from smg import common_pb2 as common
from smg import vllm_engine_pb2 as smg
from smg_worker import EOS, Worker, smg_request

CHUNK_BYTES = 1 << 20


class WorkerTest(unittest.TestCase):
    def test_model_and_server_are_told(self):
        with Worker("--served-model-name", "tales,tiny", "--max-rows", "4") as server:
            info = server.engine.GetModelInfo(smg.GetModelInfoRequest())
            model = server.models.GetModel(daemon.models_pb2.GetModelRequest(model="tiny"))
            self.assertEqual((info.served_model_name, info.model_type, list(info.architectures)),
                             ("tales", "deepseek_v3", [model.architecture]))
            self.assertEqual((info.vocab_size, info.max_context_length, info.is_generation),
                             (model.vocab_size, model.limits.max_context_tokens, True))
            self.assertEqual((list(info.eos_token_ids), info.bos_token_id), ([EOS], model.bos_token_id))
            self.assertEqual(pathlib.Path(info.model_path), MODEL)
            self.assertIsInstance(json.loads(info.default_sampling_params_json), dict)
            about = server.engine.GetServerInfo(smg.GetServerInfoRequest())
            self.assertEqual((about.block_size, about.max_num_seqs, about.data_parallel_size, about.server_type),
                             (64, 4, 1, "vllm-grpc"))
            self.assertEqual((about.active_requests, about.last_receive_timestamp), (0, 0))
            self.assertGreater(about.uptime_seconds, 0)
            server.only(smg_request())
            self.assertGreater(server.engine.GetServerInfo(smg.GetServerInfoRequest()).last_receive_timestamp, 1.7e9)

    def test_health_follows_the_drain(self):
        with Worker("--admin-listen", "127.0.0.1:0", *daemon.HOLD_TWO) as server:
            health = server.engine.HealthCheck(smg.HealthCheckRequest())
            self.assertEqual((health.healthy, health.message), (True, "serving"))
            held = server.generation.Generate(daemon.held_request("held"))
            next(held)
            progress = server.admin.Drain(daemon.admin_pb2.DrainRequest())
            next(progress)
            health = server.engine.HealthCheck(smg.HealthCheckRequest())
            self.assertEqual((health.healthy, health.message), (False, "the server is shutting down"))
            self.assertEqual(server.refusal(smg_request()).reason, "DRAINING")
            held.cancel()
            server.process.wait(PATIENCE_SECONDS)

    def test_load_is_told(self):
        with Worker(*daemon.HOLD_TWO) as server:
            def load():
                loads = server.engine.GetLoads(smg.GetLoadsRequest(include=["core"])).loads
                self.assertEqual(len(loads), 1)
                return loads[0]

            self.assertEqual((load().num_total_reqs, load().token_usage), (0, 0))
            held = [server.generation.Generate(daemon.held_request(f"held-{i}", seed=i)) for i in range(3)]
            next(held[0])
            wait_until(lambda: (load().num_running_reqs, load().num_waiting_reqs) == (2, 1), "two run, one waits")
            self.assertEqual(load().num_total_reqs, 3)
            self.assertGreater(load().token_usage, 0)
            self.assertGreater(load().max_total_num_tokens, load().num_used_tokens)
            self.assertEqual(len(server.engine.GetLoads(smg.GetLoadsRequest(dp_rank=1)).loads), 0)
            for call in held:
                call.cancel()
            server.wait_until_idle()

    def test_the_tokenizer_comes_in_chunks_of_a_zip(self):
        with tempfile.TemporaryDirectory(prefix="latentd-test-") as folder:
            model = pathlib.Path(folder) / "model"
            shutil.copytree(MODEL, model)
            (model / "merges.txt").write_bytes(b"a b\n" * (5 << 17))  # read by no one here, and larger than a chunk
            with Worker(model=model) as server:
                chunks = list(server.engine.GetTokenizer(common.GetTokenizerRequest()))
            whole = b"".join(chunk.data for chunk in chunks)
            self.assertTrue(all(len(chunk.data) == CHUNK_BYTES and not chunk.sha256 for chunk in chunks[:-1]))
            self.assertGreater(len(chunks), 2)
            self.assertEqual(chunks[-1].sha256, hashlib.sha256(whole).hexdigest())
            with zipfile.ZipFile(io.BytesIO(whole)) as archive:
                self.assertIsNone(archive.testzip())
                self.assertLessEqual({"tokenizer.json", "tokenizer_config.json", "config.json"},
                                     set(archive.namelist()))
                for name in archive.namelist():
                    self.assertEqual(archive.read(name), (model / name).read_bytes(), name)

    def test_the_operators_chat_template_is_packed(self):
        with tempfile.TemporaryDirectory(prefix="latentd-test-") as folder:
            template = pathlib.Path(folder) / "own.jinja"
            template.write_text("{% for message in messages %}{{ message.content }}{% endfor %}")
            with Worker("--chat-template", template) as server:
                chunks = server.engine.GetTokenizer(common.GetTokenizerRequest())
                with zipfile.ZipFile(io.BytesIO(b"".join(chunk.data for chunk in chunks))) as archive:
                    self.assertEqual(archive.read("chat_template.jinja"), template.read_bytes())

    def test_without_a_tokenizer_there_is_none_to_send(self):
        with tempfile.TemporaryDirectory(prefix="latentd-test-") as folder:
            model = pathlib.Path(folder) / "model"
            shutil.copytree(MODEL, model)
            for name in ("tokenizer.json", "tokenizer_config.json"):
                (model / name).unlink()
            with Worker(model=model) as server:
                with self.assertRaises(grpc.RpcError) as caught:
                    list(server.engine.GetTokenizer(common.GetTokenizerRequest()))
                self.assertEqual(Details(caught.exception).reason, "NO_TOKENIZER")
                self.assertEqual(len(server.only(smg_request(max_tokens=4)).output_ids), 4)

    def test_off_there_is_no_such_service(self):
        with Worker("--smg", "off") as server, self.assertRaises(grpc.RpcError) as caught:
            server.engine.HealthCheck(smg.HealthCheckRequest())
        self.assertEqual(caught.exception.code(), grpc.StatusCode.UNIMPLEMENTED)


class AbortTest(unittest.TestCase):
    def test_abort_ends_the_request_and_frees_its_blocks(self):
        with Worker() as server:
            call = server.engine.Generate(smg_request(stream=True, max_tokens=1900, request_id="mine", ignore_eos=True))
            next(call)
            server.engine.Abort(smg.AbortRequest(request_ids=["unknown", "mine"]))
            with self.assertRaises(grpc.RpcError) as caught:
                list(call)
            self.assertEqual(Details(caught.exception).reason, "CLIENT_CANCEL")
            server.wait_until_idle()
            server.engine.Abort(smg.AbortRequest(request_ids=["mine"]))  # once more, and nothing happens
            self.assertEqual(server.sum("requests_received_total", method="SmgAbort"), 2)
            self.assertEqual(server.sum("requests_finished_total", method="SmgGenerate", reason="CLIENT_CANCEL"), 1)

    def test_flush_waits_until_nothing_is_in_flight(self):
        with Worker(*daemon.HOLD_TWO) as server:
            server.only(smg_request([0] + [400] * 200, max_tokens=1))
            self.assertGreater(server.sum("kv_blocks", state="cached"), 0)
            held = server.generation.Generate(daemon.held_request("held"))
            next(held)
            refused = server.engine.FlushCache(common.FlushCacheRequest())
            self.assertFalse(refused.success)
            self.assertIn("found 1", refused.message)
            flushed = []
            waiting = threading.Thread(target=lambda: flushed.append(
                server.engine.FlushCache(common.FlushCacheRequest(timeout_s=PATIENCE_SECONDS))))
            waiting.start()
            wait_until(lambda: server.sum("requests_in_flight", phase="output") > 0, "the flush is in flight")
            self.assertFalse(flushed)
            held.cancel()
            waiting.join()
            self.assertTrue(flushed[0].success, flushed[0].message)
            self.assertEqual(server.sum("kv_blocks", state="cached"), 0)
            with self.assertRaises(grpc.RpcError) as caught:
                server.engine.FlushCache(common.FlushCacheRequest(timeout_s=-1))
            self.assertEqual(Details(caught.exception).fields, ["timeout_s"])


class EventsTest(unittest.TestCase):
    def test_a_subscriber_rebuilds_the_prefix_index(self):
        with Worker() as server:
            ids = [901] + [400] * 200
            server.only(smg_request(ids, max_tokens=1))
            server.only(smg_request([902, *ids], max_tokens=1))
            events = server.engine.SubscribeKvEvents(common.SubscribeKvEventsRequest())
            known, numbers = {}, []  # hash: (parent, ids)

            def follow(count):
                while len(numbers) < count:
                    batch = next(events)
                    if batch.load.load_only:
                        self.assertFalse(batch.events)
                        continue
                    event, = batch.events
                    numbers.append(batch.sequence_number)
                    kind = event.WhichOneof("data")
                    if kind == "stored":
                        block, = event.stored.blocks
                        self.assertEqual(block.block_size, 64)
                        parent = event.stored.parent_block_hash if event.stored.HasField("parent_block_hash") else None
                        self.assertTrue(parent is None or parent in known, "parents come before children")
                        self.assertFalse(event.stored.HasField("cache_salt"), "no request named a salt or a tenant")
                        known[block.block_hash] = (parent, list(block.token_ids))
                    elif kind == "removed":
                        for block_hash in event.removed.block_hashes:
                            del known[block_hash]
                    else:
                        known.clear()

            def prefixes():
                def whole(block_hash):
                    parent, tokens = known[block_hash]
                    return (whole(parent) if parent is not None else []) + tokens
                return {tuple(whole(block_hash)) for block_hash in known}

            while len(known) < 6:
                follow(len(numbers) + 1)
            self.assertEqual(prefixes(), {tuple(prompt[:length]) for prompt in (ids, [902, *ids])
                                          for length in (64, 128, 192)})
            self.assertEqual(numbers, list(range(1, len(numbers) + 1)), "no gap")
            again = server.engine.SubscribeKvEvents(common.SubscribeKvEventsRequest(start_sequence_number=4))
            self.assertEqual(next(again).sequence_number, 4)
            again.cancel()
            self.assertTrue(server.engine.FlushCache(common.FlushCacheRequest(timeout_s=PATIENCE_SECONDS)).success)
            while known:
                follow(len(numbers) + 1)
            self.assertEqual(numbers, list(range(1, len(numbers) + 1)))
            events.cancel()

    def test_loads_come_while_nothing_happens_and_the_stream_ends_with_the_drain(self):
        with Worker() as server:
            wish = common.SubscribeKvEventsRequest(load_records_before_first_batch=True)
            events = server.engine.SubscribeKvEvents(wish)
            batches = []
            while sum(batch.load.load_only for batch in batches) < 2:
                batches.append(next(events))
            samples = [batch.load.sample for batch in batches if batch.HasField("load")]
            self.assertEqual(samples, list(range(1, len(samples) + 1)))
            last = batches[-1]
            self.assertEqual((last.load.running_requests, last.load.max_running_requests), (0, 64))
            self.assertEqual(last.sequence_number, sum(len(batch.events) for batch in batches), "no number of its own")
            server.process.terminate()
            self.assertFalse([batch for batch in events if batch.events])
            self.assertEqual(server.process.wait(PATIENCE_SECONDS), 0, "it is not waited for")


class NamesTest(unittest.TestCase):
    def test_the_first_name_is_told_and_all_are_taken(self):
        with Worker("--served-model-name", "tales,tiny,org/tales") as server:
            model = server.models.GetModel(daemon.models_pb2.GetModelRequest())
            self.assertEqual((model.name, list(model.aliases)), ("tales", ["tiny", "org/tales"]))
            self.assertEqual(server.health("vllm.grpc.engine.VllmEngine"), 1)
            for name in ("tales", "tiny", "org/tales"):
                self.assertEqual(server.once(daemon.request(model=name, max_tokens=1)).started.model, "tales")
            with self.assertRaises(grpc.RpcError) as caught:
                server.once(daemon.request(model="tiny-tales"))
            self.assertEqual(daemon.Details(caught.exception).reason, "MODEL_NOT_FOUND")
            self.assertIn("model=tales", server.log_text())

    def test_wrong_names_are_refused(self):
        for names in ("tales,", "a,b,a", "two words", "x" * 129, ",".join(map(str, range(17)))):
            refused = daemon.run("--model", MODEL, "--served-model-name", names)
            self.assertEqual((refused.returncode, refused.stderr.count("\n")), (1, 1))
            self.assertIn("served-model-name: expected", refused.stderr)


class MetricsTest(unittest.TestCase):
    def test_series_of_vllm_are_ours_under_other_names(self):
        with Worker("--metrics-compat", "vllm", "--served-model-name", "tales,tiny") as server:
            before = server.metrics()
            for seed in range(3):
                server.once(daemon.request(seed=seed, stopping=daemon.pb.Stopping(ignore_eos=True)))
            server.wait_until_idle()
            samples = server.metrics()
            self.assertEqual(set(before), set(samples), "every series is there from the start")

            def vllm(name, more=""):
                return samples[f'vllm:{name}{{model_name="tales"{more}}}']

            limits = server.models.GetModel(daemon.models_pb2.GetModelRequest()).limits
            blocks = limits.kv_blocks - 1  # one is scratch
            self.assertEqual(samples[f'vllm:cache_config_info{{block_size="64",num_gpu_blocks="{blocks}"}}'], 1)
            self.assertEqual([vllm(name) for name in ("num_requests_waiting", "num_requests_running",
                                                      "kv_cache_usage_perc")], [0, 0, 0])
            self.assertEqual(vllm("request_success_total", ',finished_reason="length"'), 3)
            self.assertEqual(vllm("generation_tokens_total"), 3 * 24)
            self.assertEqual(vllm("request_generation_tokens_sum"), 3 * 24)
            self.assertEqual(vllm("prompt_tokens_total"), server.sum("prompt_tokens_admitted_total"))
            self.assertEqual(vllm("prefix_cache_hits_total"), server.sum("prefix_cache_hit_tokens_total"))
            for name in ("e2e_request_latency", "time_to_first_token", "request_time_per_output_token",
                         "request_queue_time", "request_prefill_time", "request_decode_time"):
                self.assertEqual(vllm(f"{name}_seconds_count"), 3, name)
            self.assertEqual(vllm("inter_token_latency_seconds_count"), 3 * 23)


if __name__ == "__main__":
    unittest.main(verbosity=2)
