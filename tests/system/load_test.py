"""Many streams at once: each gives the bytes that it gives alone, whatever happens to the others."""
import concurrent.futures
import random
import threading
import unittest

import grpc

import daemon
from daemon import long_request, pb, request

CANCEL_SEED = 20240607


def varied_request(index):
    """Different lengths, prompts and ways of sampling side by side."""
    texts = ["Once upon a time", "The king said", "A fox", "Tell me, mother, why the sea is salt. " * (1 + index % 7)]
    sampling = pb.Sampling(seed=1000 + index)
    if index % 4 == 0:
        sampling.temperature = 0
    elif index % 4 == 1:
        sampling.repetition_penalty = 1.2
    return request(texts[index % len(texts)], sampling=sampling, max_tokens=32 + index % 17,
                   stopping=pb.Stopping(ignore_eos=index % 3 == 0, max_tokens=32 + index % 17),
                   output=pb.Output(token_ids=True, token_bytes=True, logprobs=2))


def bytes_of(answer):
    """All that the answer says and nothing about when it was said."""
    parts = (answer.text.encode(), bytes(str(answer.token_ids), "ascii"), answer.end.SerializeToString(),
             *(part for delta in answer.deltas for part in delta.token_bytes),
             *(entry.SerializeToString() for delta in answer.deltas for entry in delta.logprobs))
    return b"\0".join(parts)


class LoadTest(unittest.TestCase):
    def test_32_streams_give_the_bytes_that_each_gives_alone(self):
        with daemon.Daemon() as server:
            alone = [bytes_of(server.once(varied_request(index))) for index in range(32)]
            before = server.metrics()
            barrier = threading.Barrier(32)

            def run(index):
                barrier.wait()
                return bytes_of(server.once(varied_request(index)))

            with concurrent.futures.ThreadPoolExecutor(32) as pool:
                together = list(pool.map(run, range(32)))
            for index in range(32):
                self.assertEqual(together[index], alone[index], f"request {index}")
            steps = self.steps_of_more_than(server, 8) - self.steps_in(before, 8)
            self.assertGreater(steps, 0, "the streams did run together")

    @staticmethod
    def steps_in(samples, rows):
        return samples["latentd_step_rows_count"] - samples[f'latentd_step_rows_bucket{{le="{rows}"}}']

    def steps_of_more_than(self, server, rows):
        return self.steps_in(server.metrics(), rows)

    def test_cancelling_a_third_of_64_streams_harms_no_other(self):
        random_source = random.Random(CANCEL_SEED)
        victims = set(random_source.sample(range(64), 21))
        moments = {index: random_source.randrange(0, 40) for index in victims}  # tokens seen before the cancellation
        with daemon.Daemon() as server:
            capacity = server.available_blocks()
            alone = {index: bytes_of(server.once(varied_request(index))) for index in range(64) if index not in victims}

            def run(index):
                if index not in victims:
                    return bytes_of(server.once(varied_request(index)))
                call = server.generation.Generate(long_request(seed=index))
                if moments[index] > 0:
                    for event in call:
                        if event.delta.tokens_so_far >= moments[index]:
                            break
                call.cancel()
                return None

            with concurrent.futures.ThreadPoolExecutor(64) as pool:
                together = list(pool.map(run, range(64)))
            for index, expected in alone.items():
                self.assertEqual(together[index], expected, f"request {index}, cancellations seeded {CANCEL_SEED}")
            server.wait_until_idle()
            self.assertEqual(server.available_blocks(), capacity, "every block is home")
            cancelled = server.sum("requests_finished_total", grpc_code="CANCELLED")
            # A cancellation can overtake its own request; it is then never received.
            self.assertLessEqual(cancelled, len(victims))
            self.assertGreater(cancelled, 0)
            self.assertEqual(server.sum("requests_received_total"), server.sum("requests_finished_total"))

    def test_reader_that_stops_reading_holds_up_nobody(self):
        with daemon.Daemon() as server:
            greedy_reader = long_request()
            greedy_reader.output.logprobs = 32
            stalled = grpc.insecure_channel(server.address, [("grpc.use_local_subchannel_pool", 1)])
            call = daemon.generation_pb2_grpc.GenerationStub(stalled).Generate(greedy_reader)
            next(call)
            expected = bytes_of(server.once(varied_request(3)))
            for _ in range(8):
                self.assertEqual(bytes_of(server.once(varied_request(3))), expected)
            call.cancel()
            stalled.close()
            server.wait_until_idle()


if __name__ == "__main__":
    unittest.main(verbosity=2)
