"""Several answers to one request: sampling.n, over gRPC and with latentctl."""
import itertools
import re
import subprocess
import unittest

import grpc

import laws
from daemon import (Answer, BIN, Daemon, Details, PATIENCE_SECONDS, admin_pb2, generation_pb2_grpc, pb, request,
                    stubborn_channel, wait_until)

PROMPT = "Once upon a time"
WITH_IDS = dict(output=pb.Output(token_ids=True, logprobs=3))
LONG = dict(stopping=pb.Stopping(max_tokens=400, ignore_eos=True))


def several(n, **groups):
    message = request(PROMPT, **{**WITH_IDS, **groups})
    message.sampling.n = n
    return message


def said(answer):
    """What each of the answers says: ids, text, log-probabilities, why it ended."""
    return [(sequence.token_ids, sequence.text,
             [entry.SerializeToString() for delta in sequence.deltas for entry in delta.logprobs],
             sequence.end.reason, sequence.end.stop_string, sequence.end.output_tokens)
            for sequence in answer.sequences]


class AnswersTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.daemon = cls.enterClassContext(Daemon())
        cls.four = said(cls.daemon.once(several(4)))
        assert len({text for _, text, *_ in cls.four}) == 4, "draws of their own"

    def tearDown(self):
        self.daemon.wait_until_idle()
        self.assertEqual(laws.violations(self.daemon.metrics()), [])

    def test_an_answer_is_the_same_for_every_n_above_its_index(self):
        for n in (1, 2, 9):
            self.assertEqual(said(self.daemon.once(several(n)))[:4], self.four[:n], n)

    def test_without_n_there_is_the_first(self):
        answer = self.daemon.once(request(PROMPT, **WITH_IDS))
        self.assertEqual(answer.started.sampling.n, 1)
        self.assertEqual(said(answer), self.four[:1])

    def test_as_many_as_there_may_be(self):
        answer = self.daemon.once(several(64, stopping=pb.Stopping(max_tokens=3, ignore_eos=True)))
        self.assertEqual([sequence.end.output_tokens for sequence in answer.sequences], [3] * 64)
        self.assertEqual(answer.completed.usage.generated_tokens, 3 * 64)
        for n in (0, 65):
            with self.assertRaises(grpc.RpcError) as caught:
                self.daemon.once(several(n))
            self.assertEqual(Details(caught.exception).fields, ["sampling.n"])

    def test_greedy_answers_are_equal(self):
        answers = said(self.daemon.once(several(3, sampling=pb.Sampling(temperature=0))))
        self.assertEqual(answers[1:], answers[:1] * 2)

    def test_prompts_of_every_length_in_a_block(self):
        """Children share the prompt's full blocks and copy its tail: exactly one block, one more, one less."""
        for length in (1, 2, 63, 64, 65, 128, 130):
            prompt = pb.TokenIds(ids=[100 + i % 50 for i in range(length)])
            message = pb.GenerateRequest(token_ids=prompt, sampling=pb.Sampling(seed=length, n=3),
                                         stopping=pb.Stopping(max_tokens=80, ignore_eos=True), **WITH_IDS)
            three = said(self.daemon.once(message))
            message.sampling.n = 1
            self.assertEqual(said(self.daemon.once(message)), three[:1], length)
            self.assertEqual(len({tuple(ids) for ids, *_ in three}), 3, length)

    def test_generate_once_has_the_answers_by_index(self):
        result = self.daemon.generation.GenerateOnce(several(4), timeout=PATIENCE_SECONDS)
        collected = [(list(one.output.token_ids), one.output.text,
                      [entry.SerializeToString() for entry in one.output.logprobs],
                      one.end.reason, one.end.stop_string, one.end.output_tokens) for one in result.sequences]
        self.assertEqual(collected, self.four)
        self.assertEqual([(one.output.index, one.end.index) for one in result.sequences], [(i, i) for i in range(4)])

    def test_log_probabilities_are_those_of_each_answers_own_tokens(self):
        prompt = list(self.daemon.generation.Tokenize(pb.TokenizeRequest(text=PROMPT)).token_ids)
        for ids, _, logprobs, *_ in self.four:
            scored = self.daemon.generation.Score(pb.ScoreRequest(token_ids=pb.TokenIds(ids=prompt + ids),
                                                                  top_logprobs=3), timeout=PATIENCE_SECONDS)
            entries = [pb.TokenLogprobs.FromString(entry) for entry in logprobs]
            for entry in entries:
                entry.ClearField("sampled_logprob")
            self.assertEqual(entries, list(scored.positions)[len(prompt) - 1:])

    def test_a_stop_string_ends_its_answer_alone(self):
        word = self.four[2][1].split()[3]
        answer = self.daemon.once(several(4, stopping=pb.Stopping(stop=[word])))
        for sequence, (_, text, _, reason, *_) in zip(answer.sequences, self.four):
            self.assertEqual(sequence.text, text.split(word)[0])
            expected = (pb.END_REASON_STOP_STRING, word) if word in text else (reason, "")
            self.assertEqual((sequence.end.reason, sequence.end.stop_string), expected)
        self.assertEqual(answer.sequences[2].end.reason, pb.END_REASON_STOP_STRING)

    def test_usage_counts_the_prompt_once_and_every_answer(self):
        before = self.daemon.metrics()
        answer = self.daemon.once(several(4))
        usage = answer.completed.usage
        self.assertEqual(usage.prompt_tokens, answer.started.prompt_tokens)
        self.assertEqual(usage.cached_tokens, answer.started.cached_tokens)
        self.assertLess(usage.cached_tokens, usage.prompt_tokens)
        generated = sum(len(ids) for ids, *_ in self.four)
        self.assertEqual(usage.generated_tokens, generated)
        self.daemon.wait_until_idle()
        after = self.daemon.metrics()

        def grown(name):
            return after[f"latentd_{name}"] - before[f"latentd_{name}"]
        self.assertEqual(grown('generated_tokens_total{outcome="delivered"}'), generated)
        self.assertEqual(grown("prompt_tokens_admitted_total"), usage.prompt_tokens)
        self.assertEqual(grown('requests_received_total{method="Generate"}'), 1)
        self.assertEqual(grown("generation_length_tokens_sum"), generated)
        timings = answer.completed.timings
        self.assertGreater(timings.time_to_first_token_seconds, 0)
        self.assertGreaterEqual(timings.decode_seconds, 0)

    def test_the_prompt_is_computed_once(self):
        message = several(8, stopping=pb.Stopping(max_tokens=4, ignore_eos=True),
                          speculation=pb.Speculation(max_drafts=0))  # the engine may try some, which count
        message.token_ids.ids.extend(200 + i % 300 for i in range(1000))
        before = self.daemon.sum("step_tokens_sum")
        self.daemon.once(message)
        computed = self.daemon.sum("step_tokens_sum") - before
        self.assertGreaterEqual(computed, 1000 + 8 * 3)
        self.assertLessEqual(computed, 1000 + 8 * 4, "its last token for each of them, and what they said")

    def test_an_answer_in_one_message_counts_all_of_them(self):
        message = several(64, stopping=pb.Stopping(max_tokens=400))
        message.output.logprobs = 32
        with self.assertRaises(grpc.RpcError) as caught:
            self.daemon.generation.GenerateOnce(message, timeout=PATIENCE_SECONDS)
        self.assertEqual(Details(caught.exception).reason, "ANSWER_TOO_LARGE")
        message.sampling.n = 1
        self.daemon.generation.GenerateOnce(message, timeout=PATIENCE_SECONDS)

    def test_cancelling_ends_all(self):
        name = dict(reason="CLIENT_CANCEL")
        before = self.daemon.sum("requests_finished_total", **name)
        call = self.daemon.generation.Generate(several(4, stopping=pb.Stopping(max_tokens=1900, ignore_eos=True)))
        begun = set()
        for event in call:
            if event.HasField("delta"):
                begun.add(event.delta.index)
            if len(begun) == 4:
                break
        call.cancel()
        wait_until(lambda: self.daemon.sum("requests_finished_total", **name) == before + 1, "it is cancelled")
        self.daemon.wait_until_idle()

    def test_a_timeout_ends_all(self):
        message = several(4, stopping=pb.Stopping(max_tokens=1900, ignore_eos=True))
        message.scheduling.timeout.nanos = 10_000_000
        with self.assertRaises(grpc.RpcError) as caught:
            self.daemon.once(message)
        self.assertRegex(Details(caught.exception).reason, "^EXPIRED_IN_(QUEUE|PREFILL|DECODE)$")

    def latentctl(self, *arguments):
        return subprocess.run([BIN / "latentctl", *arguments, "--server", self.daemon.address], capture_output=True,
                              text=True, timeout=PATIENCE_SECONDS, stdin=subprocess.DEVNULL, check=True)

    def test_latentctl_prints_each_under_its_heading(self):
        run = self.latentctl("generate", "--n", "4", "--seed", "7", "--max-tokens", "24", "--stats", PROMPT)
        pieces = re.split(r"(?m)^--- answer (\d) ---\n", run.stdout)
        self.assertEqual(pieces[0], "")
        printed = {int(index): text for index, text in zip(pieces[1::2], pieces[2::2])}
        self.assertEqual(printed, {i: text + "\n" for i, (_, text, *_) in enumerate(self.four)})
        self.assertIn(f"{sum(len(ids) for ids, *_ in self.four)} tokens,", run.stderr)
        one = self.latentctl("generate", "--n", "1", "--seed", "7", "--max-tokens", "24", PROMPT)
        self.assertEqual(one.stdout, self.four[0][1] + "\n")

    def test_load_client_follows_each_of_them(self):
        run = self.latentctl("load", "--n", "3", "--requests", "12", "--concurrency", "4", "--seed", "5",
                             "--prompt-tokens", "20", "--output-tokens", "8:2", "--adversaries", "cancel:0.2",
                             "--check", "--metrics", self.daemon.metrics_address)
        self.assertIn("same bytes as alone", run.stdout)


class LittleRoomTest(unittest.TestCase):
    """What there is not room for at once runs later, and says the same."""

    def test_fewer_rows_than_answers(self):
        with Daemon() as plain:
            expected = said(plain.once(several(9, **LONG)))
        with Daemon("--max-rows", "2") as daemon:
            self.assertEqual(said(daemon.once(several(9, **LONG))), expected)
        with Daemon("--kv-blocks", "10") as daemon:
            self.assertEqual(said(daemon.once(several(9, **LONG))), expected)
            daemon.wait_until_idle()
            self.assertEqual(laws.violations(daemon.metrics()), [])


class DrainTest(unittest.TestCase):
    def test_a_drain_lets_all_end_or_ends_all(self):
        with Daemon("--drain-seconds", "3600") as daemon:
            calls = self.begun(daemon, max_tokens=100)
            daemon.process.terminate()
            self.assertEqual([sequence.end.output_tokens for sequence in Answer(calls).sequences], [100] * 4)
            self.assertEqual(daemon.process.wait(PATIENCE_SECONDS), 0)
        with Daemon("--drain-seconds", "0.05") as daemon:
            calls = self.begun(daemon, max_tokens=1900)
            daemon.process.terminate()
            with self.assertRaises(grpc.RpcError) as caught:
                Answer(calls)
            self.assertEqual(Details(caught.exception).reason, "DRAINING")
            self.assertEqual(daemon.process.wait(PATIENCE_SECONDS), 0)

    @staticmethod
    def begun(daemon, max_tokens):
        call = daemon.generation.Generate(several(4, stopping=pb.Stopping(max_tokens=max_tokens, ignore_eos=True)))
        return itertools.chain([next(call)], call)


class OneReaderTest(unittest.TestCase):
    """All answers go to one reader: it holds up all of them, and takes them all."""

    @classmethod
    def setUpClass(cls):
        cls.daemon = cls.enterClassContext(Daemon("--max-pending-bytes", "1024", "--slow-consumer-seconds", "3600",
                                                  "--admin-listen", "127.0.0.1:0"))
        cls.message = several(3, stopping=pb.Stopping(max_tokens=600, ignore_eos=True))
        cls.message.output.logprobs = 32

    def setUp(self):
        self.of_others = self.generated()

    def generated(self):
        return self.daemon.sum("generated_tokens_total")

    def stalled(self):
        """A call whose answers all wait for its reader: none of them gets a token while others' steps go by."""
        channel = stubborn_channel(self.daemon)
        self.addCleanup(channel.close)
        call = generation_pb2_grpc.GenerationStub(channel).Generate(self.message)
        first = next(call)
        while True:
            before = self.generated() - self.of_others
            self.daemon.once(request(max_tokens=16, stopping=pb.Stopping(max_tokens=16, ignore_eos=True)))
            self.of_others += 16
            if before > 0 and self.generated() - self.of_others == before:
                self.assertLess(before, 3 * 600)
                return first, call

    def test_a_slow_reader_pauses_all_and_loses_nothing(self):
        expected = said(self.daemon.once(self.message))
        self.of_others = self.generated()
        first, call = self.stalled()
        self.assertEqual(said(Answer([first, *call])), expected)
        self.daemon.wait_until_idle()

    def test_an_abort_ends_all(self):
        _, call = self.stalled()
        self.daemon.admin.Abort(admin_pb2.AbortRequest(all=True))
        with self.assertRaises(grpc.RpcError) as caught:
            for _ in call:
                pass
        self.assertEqual(Details(caught.exception).reason, "ADMIN_ABORT")
        self.daemon.wait_until_idle()


if __name__ == "__main__":
    unittest.main(verbosity=2)
