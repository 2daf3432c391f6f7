"""latentctl load against a server that breaks its promises: every check fails where it should."""
import concurrent.futures
import threading
import unittest

import grpc

from load_run import daemon, run
from daemon import generation_pb2_grpc, models_pb2, models_pb2_grpc, pb

NUM_TOKENS = 6


def started():
    return pb.GenerateEvent(started=pb.Started(request_id="r", prompt_tokens=3))


def delta(ids, tokens_so_far):
    return pb.GenerateEvent(delta=pb.Delta(token_ids=ids, tokens_so_far=tokens_so_far))


def end(tokens=NUM_TOKENS):
    return pb.GenerateEvent(sequence_end=pb.SequenceEnd(reason=pb.END_REASON_MAX_TOKENS, output_tokens=tokens))


def completed(tokens=NUM_TOKENS):
    return pb.GenerateEvent(completed=pb.Completed(usage=pb.Usage(prompt_tokens=3, generated_tokens=tokens)))


def honest(request, asked_before):
    """A token at a time; the ids are a function of the request's seed."""
    yield started()
    for i in range(NUM_TOKENS):
        yield delta([(request.sampling.seed + i) % 50], i + 1)
    yield end()
    yield completed()


def changes_its_mind(request, asked_before):
    yield started()
    yield delta([7 if asked_before else 8] * NUM_TOKENS, NUM_TOKENS)
    yield end()
    yield completed()


def forgets_a_token_alone(request, asked_before):
    tokens = NUM_TOKENS - 1 if asked_before else NUM_TOKENS
    yield started()
    yield delta([1] * tokens, tokens)
    yield end(tokens)
    yield completed(tokens)


def never_completes(request, asked_before):
    yield started()
    yield delta([1], 1)
    yield end(1)


def goes_back(request, asked_before):
    yield started()
    yield delta([1, 1], 2)
    yield delta([], 1)
    yield end(1)
    yield completed(1)


class Server(generation_pb2_grpc.GenerationServicer, models_pb2_grpc.ModelsServicer):
    """Answers as `behave` says, which is told whether the same request was there before. Keeps what it was asked."""

    def __init__(self, behave):
        self.behave, self.asked, self.lock = behave, [], threading.Lock()
        self.server = grpc.server(concurrent.futures.ThreadPoolExecutor(16))
        generation_pb2_grpc.add_GenerationServicer_to_server(self, self.server)
        models_pb2_grpc.add_ModelsServicer_to_server(self, self.server)
        self.address = f"127.0.0.1:{self.server.add_insecure_port('127.0.0.1:0')}"

    def GetModel(self, request, context):
        limits = models_pb2.ModelLimits(max_context_tokens=2048)
        return models_pb2.Model(name="liar", vocab_size=50, limits=limits)

    def Generate(self, request, context):
        key = request.SerializeToString(deterministic=True)
        with self.lock:
            asked_before = key in self.asked
            self.asked.append(key)
        yield from self.behave(request, asked_before)

    def __enter__(self):
        self.server.start()
        return self

    def __exit__(self, *_):
        self.server.stop(None).wait()


def outcomes_of(behave, *flags):
    with Server(behave) as server:
        load = run(server.address, "--requests", "8", "--check", *flags)
    return load, load.outcomes()


class LyingServerTest(unittest.TestCase):
    def test_honest_server_passes(self):
        load, outcomes = outcomes_of(honest)
        self.assertEqual(load.code, 0, load.errors + load.table)
        self.assertEqual(outcomes["same bytes as alone"], ("passed", "8 whole answers and 0 beginnings of answers"))

    def test_other_tokens_alone_fail_the_check(self):
        load, outcomes = outcomes_of(changes_its_mind)
        verdict, detail = outcomes["same bytes as alone"]
        self.assertEqual((load.code, verdict), (1, "failed"))
        self.assertIn("token 0: expected id 7 as in the quiet run, found 8", detail)

    def test_other_length_alone_fails_the_check(self):
        load, outcomes = outcomes_of(forgets_a_token_alone)
        verdict, detail = outcomes["same bytes as alone"]
        self.assertEqual((load.code, verdict), (1, "failed"))
        self.assertIn("expected 5 tokens as in the quiet run, found 6", detail)

    def test_stream_without_completed_breaks_the_grammar(self):
        load, outcomes = outcomes_of(never_completes)
        verdict, detail = outcomes["stream grammar"]
        self.assertEqual((load.code, verdict), (1, "failed"))
        self.assertIn("expected 0 of 8 streams to break it, found 8", detail)
        self.assertIn("Completed before the status OK", detail)

    def test_count_that_falls_breaks_the_grammar(self):
        _, outcomes = outcomes_of(goes_back)
        self.assertEqual(outcomes["stream grammar"][0], "failed")

    def test_grammar_is_checked_without_being_asked_for(self):
        with Server(never_completes) as server:
            load = run(server.address, "--requests", "3")
        self.assertEqual((load.code, load.outcomes()["stream grammar"][0]), (1, "failed"))

    def test_message_of_several_tokens_is_one_wait(self):
        load, _ = outcomes_of(changes_its_mind)
        waits = load.report["latency_seconds"]["inter_token_latency"]
        self.assertEqual((waits["count"], waits["max"]), (8 * (NUM_TOKENS - 1), 0.0))


class RequestsTest(unittest.TestCase):
    @staticmethod
    def asked(*flags):
        with Server(honest) as server:
            run(server.address, "--requests", "40", *flags)
            return sorted(server.asked)

    def test_seed_gives_the_same_requests_in_either_loop(self):
        flags = ("--prompt-tokens", "20:5", "--output-tokens", "9:3", "--adversaries", "cancel:0")
        alone = self.asked(*flags, "--seed", "3", "--concurrency", "1")
        self.assertEqual(len(set(alone)), 40)
        self.assertEqual(self.asked(*flags, "--seed", "3", "--concurrency", "9", "--connections", "3"), alone)
        self.assertEqual(self.asked(*flags, "--seed", "3", "--rate", "500"), alone)
        self.assertNotEqual(self.asked(*flags, "--seed", "4", "--concurrency", "9"), alone)


if __name__ == "__main__":
    unittest.main(verbosity=2)
