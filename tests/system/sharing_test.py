"""What requests share in the prefix cache and how they rank, as clients and operators see it."""
import unittest

import grpc
from google.protobuf import duration_pb2

import daemon
from daemon import Answer, Details, HOLD_TWO, admin_pb2, held_request, long_request, pb, request, wait_until

KING = "Once upon a time there was a king who had three daughters and a golden bird. "
PROMPT = (KING * 8).strip()


def named(tenant):
    return [("x-latentd-tenant", tenant)]


class SharingTest(unittest.TestCase):
    """Each test has a salt of its own, so that nothing is shared between them."""

    @classmethod
    def setUpClass(cls):
        cls.daemon = cls.enterClassContext(daemon.Daemon("--admin-listen", "127.0.0.1:0"))

    def ask(self, *, server=None, text=PROMPT, metadata=(), max_tokens=8, **cache):
        cache.setdefault("salt", self.id())
        message = request(text, max_tokens=max_tokens, cache=pb.Cache(**cache))
        answer = Answer((server or self.daemon).generation.Generate(message, metadata=metadata,
                                                                    timeout=daemon.PATIENCE_SECONDS))
        self.assertEqual(answer.completed.usage.cached_tokens, answer.started.cached_tokens)
        return answer

    def cached(self, **rules):
        return self.ask(**rules).started.cached_tokens

    def test_all_but_the_last_token_is_found_and_the_bytes_are_the_same(self):
        first, second = self.ask(), self.ask()
        self.assertEqual(first.started.cached_tokens, 0)
        self.assertEqual(second.started.cached_tokens, second.started.prompt_tokens - 1)
        self.assertEqual((second.text, second.end), (first.text, first.end))

    def test_prompt_that_goes_on_with_an_answer_finds_the_answer_too(self):
        ids = list(self.daemon.generation.Tokenize(pb.TokenizeRequest(text=PROMPT)).token_ids)

        def ask(prompt):
            return self.daemon.once(pb.GenerateRequest(
                token_ids=pb.TokenIds(ids=prompt), cache=pb.Cache(salt=self.id()), output=pb.Output(token_ids=True),
                stopping=pb.Stopping(max_tokens=20, ignore_eos=True)))

        longer = ids + list(ask(ids).token_ids)
        self.assertEqual(ask(longer).started.cached_tokens, len(longer) - 1)

    def test_reuse_is_exact_to_the_token(self):
        ids = [0, *range(100, 190)]
        for length in (90, 70, 64, 63, 1):
            with self.subTest(length=length):
                message = pb.GenerateRequest(token_ids=pb.TokenIds(ids=ids[:length] + [400]), cache=pb.Cache(
                    salt=self.id()), stopping=pb.Stopping(max_tokens=1))
                if length == 90:
                    self.daemon.once(pb.GenerateRequest(token_ids=pb.TokenIds(ids=ids), cache=message.cache,
                                                        stopping=message.stopping))
                self.assertEqual(self.daemon.once(message).started.cached_tokens, length)

    def test_bypass(self):
        self.ask()
        self.assertEqual(self.cached(bypass=True), 0)
        self.assertGreater(self.cached(), 0)

    def test_no_store(self):
        self.ask(no_store=True)
        self.assertEqual(self.cached(), 0)
        self.assertGreater(self.cached(no_store=True), 0)

    def test_salt(self):
        self.ask(salt=self.id() + "a")
        self.assertEqual(self.cached(salt=self.id() + "b"), 0)
        self.assertGreater(self.cached(salt=self.id() + "a"), 0)

    def test_tenants_share_nothing(self):
        self.ask(metadata=named("alpha"))
        self.assertEqual(self.cached(metadata=named("beta")), 0)
        self.assertEqual(self.cached(), 0)
        self.assertGreater(self.cached(metadata=named("alpha")), 0)

    def test_tenant_is_a_printable_name(self):
        for metadata in (named(""), named("x" * 65), named("a") + named("b")):
            with self.assertRaises(grpc.RpcError) as caught:
                self.ask(metadata=metadata)
            details = Details(caught.exception)
            self.assertEqual((details.code, details.reason, details.fields),
                             (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", ["metadata x-latentd-tenant"]))
        self.ask(metadata=named("x" * 64))

    def test_score_computes_what_it_scores_and_leaves_it_behind(self):
        scored = [self.daemon.generation.Score(pb.ScoreRequest(text=PROMPT, cache=pb.Cache(salt=self.id())))
                  for _ in range(2)]
        self.assertEqual([result.cached_tokens for result in scored], [0, 0])
        self.assertEqual(*(result.positions for result in scored))
        self.assertGreater(self.cached(), 0)

    def test_keep_for(self):
        """A prefix that is kept outlasts others that come later than it, one that is not is gone."""
        for keep_for, is_kept in (({}, False), ({"keep_for": duration_pb2.Duration(seconds=300)}, True)):
            with self.subTest(is_kept=is_kept), daemon.Daemon("--kv-blocks", "17") as server:
                self.ask(server=server, **keep_for)
                for i in range(24):
                    self.ask(server=server, text=f"{i} {i} {i} " + PROMPT, salt=f"flood {i}")
                self.assertGreater(server.sum("kv_evictions_total"), 0)
                self.assertEqual(self.cached(server=server) > 0, is_kept)

    def test_flush_forgets_what_no_request_holds(self):
        self.ask()
        self.daemon.wait_until_idle()
        cached = self.daemon.sum("kv_blocks", state="cached")
        flush = self.daemon.admin.FlushPrefixCache
        self.assertEqual(flush(admin_pb2.FlushPrefixCacheRequest()).blocks_freed, cached)
        wait_until(lambda: self.daemon.sum("kv_blocks", state="cached") == 0, "the metrics say so")
        self.assertEqual(flush(admin_pb2.FlushPrefixCacheRequest()).blocks_freed, 0)
        self.assertEqual(self.cached(), 0)

    def test_load_tells_of_the_cache(self):
        for _ in range(2):
            self.ask()
        load = self.daemon.admin.GetLoad(admin_pb2.GetLoadRequest())
        self.assertGreater(load.kv_blocks_cached, 0)
        self.assertTrue(0 < load.prefix_hit_rate < 1, load.prefix_hit_rate)

    def test_without_a_cache_nothing_is_found(self):
        with daemon.Daemon("--prefix-cache", "off", "--admin-listen", "127.0.0.1:0") as server:
            with_cache = self.ask()
            for _ in range(2):
                answer = self.ask(server=server)
                self.assertEqual((answer.started.cached_tokens, answer.text), (0, with_cache.text))
            flushed = server.admin.FlushPrefixCache(admin_pb2.FlushPrefixCacheRequest())
            self.assertEqual((flushed.blocks_freed, server.sum("prefix_cache_queried_tokens_total")), (0, 0))


class RankTest(unittest.TestCase):
    def test_priority_and_tenant_are_listed(self):
        with daemon.Daemon("--admin-listen", "127.0.0.1:0", *HOLD_TWO) as server:
            message = held_request("mine")
            message.scheduling.priority = -3
            call = server.generation.Generate(message, metadata=named("alpha"))
            next(call)
            listed = server.admin.ListRequests(admin_pb2.ListRequestsRequest()).requests
            self.assertEqual([(entry.priority, entry.tenant) for entry in listed], [(-3, "alpha")])
            call.cancel()
            server.await_log("tenant=alpha")

    def test_higher_priority_takes_the_row_and_gives_it_back(self):
        with daemon.Daemon("--max-rows", "1", "--admin-listen", "127.0.0.1:0") as server:
            quiet = server.once(long_request(max_tokens=400))
            low = server.generation.Generate(long_request(max_tokens=400))
            wait_until(lambda: next(low).HasField("delta"), "it runs")
            urgent = request(max_tokens=4)
            urgent.scheduling.priority = 8
            server.once(urgent)
            events = list(low)
            text = "".join(event.delta.text for event in events)
            self.assertTrue(quiet.text.endswith(text) and len(text) > 0, "the same bytes after the pause")
            self.assertGreater(events[-1].completed.timings.preempted_seconds, 0)
            self.assertGreater(server.sum("preemptions_total", reason="priority"), 0)
            self.assertGreater(server.sum("preempted_seconds_count"), 0)

    def test_rows_that_outgrow_the_cache_take_turns_with_the_same_bytes(self):
        with daemon.Daemon("--kv-blocks", "17") as server:
            messages = [long_request(seed=seed, max_tokens=900) for seed in range(3)]
            quiet = [server.once(message).text for message in messages]
            calls = [server.generation.Generate(message) for message in messages]
            self.assertEqual([Answer(call).text for call in calls], quiet)
            self.assertGreater(server.sum("preemptions_total", reason="blocks"), 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
