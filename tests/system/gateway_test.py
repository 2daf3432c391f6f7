"""The gateway smg from PyPI, unmodified, with this daemon as its worker, and the official clients through it.

Packages are installed into an environment of the test's own; where that cannot be, the test says SKIPPED and why.
"""
import collections
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import unittest
import urllib.request

import daemon
from daemon import PATIENCE_SECONDS, pb, wait_until
from prometheus import free_port
from smg import common_pb2 as common
from smg import vllm_engine_pb2 as smg

PACKAGES = ("smg==1.13.0", "smg-grpc-proto==0.4.28", "openai==3.57.0", "anthropic==2.14.0")
INSTALL_SECONDS = 240
CLIENTS = pathlib.Path(__file__).with_name("gateway_clients.py")
# Names another place in each process, so that the gateway does not find the tokenizer there, as on another machine.
ELSEWHERE = pathlib.Path("/proc/self/cwd") / daemon.MODEL.relative_to(daemon.ROOT)
NAMES = ("--served-model-name", "tales,tiny")
# Messages that this server gets: it must know every field that the gateway may set.
WHOLE = ("GenerateRequest", "SamplingParams", "TokenizedInput", "ChoiceConstraint", "AbortRequest", "GetLoadsRequest")


class Environment:
    """Python with the gateway and its clients, in a folder that goes with the test."""

    @classmethod
    def make(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="latentd-gateway-"))
        unittest.addModuleCleanup(shutil.rmtree, cls.folder)
        python = cls.folder / "bin/python3"
        install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PACKAGES]
        try:
            for command in (["/usr/bin/python3", "-m", "venv", cls.folder], install):
                subprocess.run(command, check=True, capture_output=True, text=True, timeout=INSTALL_SECONDS)
        except (OSError, subprocess.SubprocessError) as error:
            why = (getattr(error, "stderr", "") or str(error)).strip().splitlines()[-1]
            print(f"SKIPPED gateway_test: {' '.join(PACKAGES)} cannot be installed: {why}")
            raise unittest.SkipTest(why) from error
        cls.python, cls.smg = python, cls.folder / "bin/smg"

    @classmethod
    def client(cls, scenario, base, **options):
        """A process of gateway_clients.py."""
        return subprocess.Popen([cls.python, CLIENTS, scenario, base], text=True, stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=clean_environment(), **options)

    @classmethod
    def learn(cls, scenario, base="", text=""):
        process = cls.client(scenario, base)
        output, errors = process.communicate(text, timeout=2 * PATIENCE_SECONDS)
        assert process.returncode == 0, errors[-4000:]
        return json.loads(output.splitlines()[-1])


def setUpModule():
    Environment.make()


def clean_environment():
    """Clients of one machine need no proxy."""
    return {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}


class Gateway:
    """Use as a context: routes to these workers by prefix, and knows them all once entered."""

    def __init__(self, *workers):
        self.port = free_port()
        self.base = f"http://127.0.0.1:{self.port}"
        self.log_path = Environment.folder / f"smg-{self.port}.log"
        self.workers = workers
        command = [Environment.smg, "launch", "--host", "127.0.0.1", "--port", str(self.port),
                   "--policy", "cache_aware", "--prometheus-port", str(free_port()),
                   "--health-check-interval-secs", "1",
                   "--worker-urls", *(f"grpc://{worker.address}" for worker in workers)]
        with open(self.log_path, "w") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                                            cwd=Environment.folder, env=clean_environment())

    def get(self, path):
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(self.base + path, timeout=PATIENCE_SECONDS) as page:
            return json.load(page)

    def knows_all(self):
        with contextlib.suppress(OSError):
            ready = [worker for worker in self.get("/workers")["workers"] if worker["is_healthy"]]
            return len(ready) == len(self.workers) and len(self.get("/v1/models")["data"]) > 0
        return False

    def __enter__(self):
        wait_until(lambda: self.process.poll() is not None or self.knows_all(), "the gateway knows its workers")
        assert self.process.poll() is None, self.log_path.read_text()[-4000:]
        return self

    def __exit__(self, kind, value, trace):
        self.process.terminate()
        try:
            self.process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if kind is not None:
            print(self.log_path.read_text()[-4000:])


def finished(worker, **labels):
    return worker.sum("requests_finished_total", method="SmgGenerate", **labels)


class ProtocolTest(unittest.TestCase):
    def test_our_messages_are_those_that_are_published(self):
        files = (common.DESCRIPTOR, smg.DESCRIPTOR)
        messages = {message.full_name: {field.name: [field.number, field.type, field.message_type.full_name
                                                     if field.message_type else ""] for field in message.fields}
                    for file in files for message in file.message_types_by_name.values()}
        methods = [method.full_name for file in files for service in file.services_by_name.values()
                   for method in service.methods]
        asked = {"messages": messages, "methods": methods,
                 "whole": [f"vllm.grpc.engine.{name}" for name in WHOLE] + ["smg.grpc.common.FlushCacheRequest"]}
        self.assertGreater(len(methods), 5)
        self.assertEqual(Environment.learn("protocol", text=json.dumps(asked)), [])


class ClientsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.worker = cls.enterClassContext(daemon.Daemon(*NAMES, model=ELSEWHERE))
        cls.gateway = cls.enterClassContext(Gateway(cls.worker))

    def chat(self, max_tokens):
        message = pb.ChatRequest(messages=[pb.ChatMessage(role="user", content="Tell me a story")],
                                 sampling=pb.Sampling(temperature=0), stopping=pb.Stopping(max_tokens=max_tokens))
        return daemon.Answer(self.worker.generation.Chat(message, timeout=PATIENCE_SECONDS)).text

    def test_it_registers_by_itself(self):
        for method in ("SmgHealthCheck", "SmgGetModelInfo", "SmgGetServerInfo", "SmgGetTokenizer"):
            self.assertGreater(self.worker.sum("requests_finished_total", method=method, grpc_code="OK"), 0, method)
        worker = self.gateway.get("/workers")["workers"][0]
        self.assertEqual((worker["model_id"], worker["connection_mode"], worker["runtime_type"]),
                         ("tales", "grpc", "vllm"))

    def test_official_clients_get_the_answers_of_latentd_v1(self):
        learned = Environment.learn("answers", self.gateway.base)
        text = self.chat(24)
        for kind in ("chat", "chat_streamed", "response", "response_streamed", "message", "message_streamed"):
            self.assertEqual(learned[kind].strip(), text.strip(), kind)
        # The gateway puts no begin-of-sequence before a text.
        own = self.worker.once(daemon.request(max_tokens=16, sampling=pb.Sampling(temperature=0),
                                              add_special_tokens=False))
        self.assertEqual((learned["completion"], learned["completion_streamed"]), (own.text, own.text))
        self.assertEqual((learned["finish"], learned["message_stop"]), ("length", "max_tokens"))
        self.assertEqual(learned["usage"][1], 24)
        self.assertEqual(learned["chat_stream_usage"], 24)
        self.assertEqual(learned["chat_logprobs"], 24)
        self.assertIn("tales", learned["models"])
        self.assertEqual(learned["several"], 3)
        self.assertEqual(learned["stopped"][1], "stop")
        self.assertEqual(learned["stopped"][0], text[:text.index("time")])
        status, message = learned["constraint"]
        self.assertEqual(status, 501)
        self.assertIn("sampling_params.json_schema", message)

    def test_a_client_that_closes_is_aborted_and_its_blocks_are_freed(self):
        before = finished(self.worker, reason="CLIENT_CANCEL")
        self.assertEqual(Environment.learn("cancel", self.gateway.base), {"words": 5})
        wait_until(lambda: finished(self.worker, reason="CLIENT_CANCEL") == before + 1, "the request is cancelled")
        wait_until(lambda: self.worker.sum("kv_blocks", state="active") == 0, "its blocks are home")
        self.assertGreater(self.worker.sum("requests_finished_total", method="SmgAbort", grpc_code="OK"), 0)


class FleetTest(unittest.TestCase):
    def test_a_groups_requests_go_where_its_prefix_is(self):
        with daemon.Daemon(*NAMES) as first, daemon.Daemon(*NAMES) as second, Gateway(first, second) as gateway:
            asked = Environment.learn("groups", gateway.base)
            counts = collections.defaultdict(list)  # of a group's requests, by worker
            for worker in (first, second):
                lengths = re.findall(r"method=SmgGenerate .*?generated_tokens=(\d+)", worker.log_text())
                for group in range(asked["groups"]):
                    counts[group].append(lengths.count(str(4 + group)))
            print("requests of each group by worker:", dict(counts))
            for group, by_worker in counts.items():
                self.assertEqual(sum(by_worker), asked["requests"])
                self.assertGreaterEqual(max(by_worker), 0.8 * asked["requests"], f"group {group}: {by_worker}")
            self.assertTrue(all(finished(worker) > 0 for worker in (first, second)), "both had groups")

    def test_a_drained_worker_loses_no_request_and_a_killed_one_is_left(self):
        with contextlib.ExitStack() as stack:
            drained, left = (stack.enter_context(daemon.Daemon(*NAMES)) for _ in range(2))
            killed = daemon.Daemon(*NAMES)
            stack.push(lambda *_: killed.__exit__(KeyboardInterrupt, None, None))  # its exit code is no matter
            gateway = stack.enter_context(Gateway(drained, killed, left))
            client = Environment.client("load", gateway.base)
            stack.callback(client.wait)
            stack.callback(client.kill)
            results = []

            def read():
                for line in client.stdout:
                    results.append(json.loads(line))

            reader = threading.Thread(target=read)
            reader.start()
            wait_until(lambda: all(finished(worker) > 2 for worker in (drained, killed, left)), "all three have load")
            drained.process.send_signal(signal.SIGTERM)
            self.assertEqual(drained.process.wait(PATIENCE_SECONDS), 0)
            at_drain = len(results)
            wait_until(lambda: len(results) > at_drain + 20, "the others go on")
            self.assertEqual(set(results), {"length"}, "no request of the drained worker is lost")
            killed.process.kill()
            killed.process.wait(PATIENCE_SECONDS)
            before = finished(left)
            wait_until(lambda: finished(left) > before + 40, "the last one goes on")
            at_kill = len(results)
            wait_until(lambda: len(results) > at_kill + 20, "and its answers arrive")
            self.assertEqual(set(results[at_kill:]), {"length"})
            client.stdin.close()
            reader.join()
            lost = [result for result in results if result != "length"]
            print(f"{len(results)} requests, {len(lost)} lost with the killed worker")
            self.assertLessEqual(len(lost), 16, lost[:3])


if __name__ == "__main__":
    unittest.main(verbosity=2)
