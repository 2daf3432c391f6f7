"""A router that knows the prefix cache by its KV events alone foretells what each prompt will find there."""
import contextlib
import random
import socket
import struct
import unittest

import msgpack
import zmq

import daemon
from daemon import admin_pb2, pb, wait_until

SEED = 20261201
NUM_PROMPTS = 1000
BLOCK = 64
END_OF_REPLAY = 2**64 - 1
LOOPBACK = ("--kv-events-listen", "tcp://127.0.0.1:0", "--kv-events-replay-listen", "tcp://127.0.0.1:0",
            "--kv-events-topic", "kv@pod-7@tiny-tales")
PATIENCE_MS = daemon.PATIENCE_SECONDS * 1000


class Follower:
    """Its index is made of events and of nothing else: {(block before, token ids, extra keys): hash}."""

    def __init__(self, context):
        self.context = context
        self.sockets = []
        self.places, self.hashes = {}, {}
        self.last = 0
        self.num_replays = 0
        self.live = []  # what came as it was published: (number, events)
        self.kinds = set()

    def close(self):
        for peer in self.sockets:
            peer.close(0)

    def connect(self, server):
        """Who has lost a connection knows nothing of what is behind it: all that is held comes again."""
        self.close()
        self.subscriber, self.replayer = self.context.socket(zmq.SUB), self.context.socket(zmq.DEALER)
        self.sockets = [self.subscriber, self.replayer]
        self.subscriber.subscribe(b"kv@")
        self.subscriber.rcvhwm = 0
        self.replayer.rcvtimeo = PATIENCE_MS
        self.subscriber.connect("tcp://" + server.addresses["kv_events"])
        self.replayer.connect("tcp://" + server.addresses["kv_events_replay"])
        self.live, self.last = [], 0
        self.replay(0)

    def ask_again(self, first):
        self.replayer.send_multipart([b"", struct.pack(">Q", first)])
        while True:
            empty, number, payload = self.replayer.recv_multipart()
            assert empty == b""
            number = struct.unpack(">Q", number)[0]
            if number == END_OF_REPLAY:
                assert payload == b""
                return
            yield number, self.events_of(payload)

    def replay(self, first):
        self.num_replays += 1
        for number, events in self.ask_again(first):
            self.apply(number, events)

    @staticmethod
    def events_of(payload):
        seconds, events, rank = msgpack.unpackb(payload)
        assert rank == 0 and seconds > 1.7e9, (seconds, rank)
        return events

    def apply(self, number, events):
        self.last = number
        learn = {"AllBlocksCleared": self.clear, "BlockStored": self.store, "BlockRemoved": self.remove}
        for event in events:
            self.kinds.add(event["type"])
            learn[event["type"]](event)

    def clear(self, event):
        assert set(event) == {"type"}
        self.places, self.hashes = {}, {}

    def store(self, event):
        assert event["block_size"] == BLOCK and len(event["token_ids"]) == BLOCK and event["medium"] == "GPU", event
        assert event["lora_id"] is None and event["lora_name"] is None
        [name] = event["block_hashes"]
        parent, keys = event["parent_block_hash"], tuple((event["extra_keys"] or [()])[0])
        assert parent is None or (parent in self.hashes and not keys), "beneath a block that is not there"
        place = (parent, tuple(event["token_ids"]), keys)
        assert place not in self.places and name not in self.hashes, "stored twice"
        self.places[place] = name
        self.hashes[name] = place

    def remove(self, event):
        for name in event["block_hashes"]:
            del self.places[self.hashes.pop(name)]

    def read_live(self):
        """What has come so far; a number that is missing is asked for."""
        while self.subscriber.poll(0):
            topic, number, payload = self.subscriber.recv_multipart()
            assert topic == b"kv@pod-7@tiny-tales", topic
            number, events = struct.unpack(">Q", number)[0], self.events_of(payload)
            self.live.append((number, events))
            if number > self.last + 1:
                self.replay(self.last + 1)
            elif number == self.last + 1:
                self.apply(number, events)

    def catch_up(self):
        self.read_live()
        self.replay(self.last + 1)

    def foretell(self, ids, keys=()):
        """Full blocks that a prompt will find. Its last token is computed in any case."""
        parent, count = None, 0
        while (count + 1) * BLOCK < len(ids):
            place = (parent, tuple(ids[count * BLOCK:(count + 1) * BLOCK]), keys if parent is None else ())
            if place not in self.places:
                break
            parent, count = self.places[place], count + 1
        return count


class Prompts:
    """Prompts that share beginnings with earlier ones."""

    def __init__(self):
        self.random = random.Random(SEED)
        self.earlier = [[]]

    def next(self):
        begin = self.random.choice(self.earlier[-40:])
        ids = begin[:self.random.randint(0, len(begin))] if self.random.random() < 0.5 else list(begin)
        ids = ids[:400] + [self.random.randrange(100, 4000) for _ in range(self.random.choice((1, 20, 64, 130)))]
        self.earlier.append(ids)
        return ids


class KvEventsTest(unittest.TestCase):
    def setUp(self):
        self.context = zmq.Context()
        self.addCleanup(self.context.term)
        self.prompts = Prompts()

    def follow(self):
        follower = Follower(self.context)
        self.addCleanup(follower.close)
        return follower

    def ask(self, server, ids, tenant=None, **cache):
        """Tokens that were found."""
        message = pb.GenerateRequest(token_ids=pb.TokenIds(ids=ids), cache=pb.Cache(**cache),
                                     stopping=pb.Stopping(max_tokens=1, ignore_eos=True))
        metadata = [("x-latentd-tenant", tenant)] if tenant else ()
        answer = daemon.Answer(server.generation.Generate(message, metadata=metadata, timeout=daemon.PATIENCE_SECONDS))
        return answer.completed.usage.cached_tokens

    def compare(self, server, follower, count):
        """How many blocks were found by `count` prompts, each foretold."""
        num_found = 0
        for i in range(count):
            follower.catch_up()
            ids = self.prompts.next()
            foretold = follower.foretell(ids)
            found = self.ask(server, ids) // BLOCK
            self.assertEqual(found, foretold, f"prompt {i}, seed {SEED}")
            num_found += found
        return num_found

    def test_router_foretells_hits_across_losses_replays_a_flush_and_a_restart(self):
        flags = (*LOOPBACK, "--kv-blocks", "64", "--max-rows", "4", "--max-context-tokens", "1024", "--admin-listen",
                 "127.0.0.1:0")
        follower = self.follow()
        part = NUM_PROMPTS // 5
        with daemon.Daemon(*flags) as server:
            follower.connect(server)
            self.assertGreater(self.compare(server, follower, part), part // 3)
            with self.subTest("messages are lost"):
                for _ in range(5):
                    self.ask(server, self.prompts.next() + list(range(100, 230)))
                wait_until(lambda: follower.subscriber.poll(0), "something was published")
                follower.subscriber.recv_multipart()
                before = follower.num_replays
                self.ask(server, self.prompts.next() + list(range(300, 430)))
                wait_until(lambda: follower.read_live() or follower.num_replays > before, "the loss is seen")
                self.assertGreater(self.compare(server, follower, part), part // 3)
            with self.subTest("the connection is lost"):
                follower.close()
                for _ in range(20):
                    self.ask(server, self.prompts.next())
                follower.connect(server)
                self.assertGreater(self.compare(server, follower, part), part // 3)
            with self.subTest("the cache is flushed"):
                server.admin.FlushPrefixCache(admin_pb2.FlushPrefixCacheRequest())
                follower.catch_up()
                self.assertEqual(follower.hashes, {})
                self.assertGreater(self.compare(server, follower, part), part // 3)
            self.check_live(server, follower)
            self.assertEqual(follower.kinds, {"BlockStored", "BlockRemoved", "AllBlocksCleared"})
        with daemon.Daemon(*flags) as server:
            self.assertGreater(len(follower.hashes), 10)
            follower.connect(server)
            self.assertEqual(follower.hashes, {})
            self.assertGreater(self.compare(server, follower, NUM_PROMPTS - 4 * part), part // 3)

    def test_router_that_comes_late_gets_a_snapshot(self):
        """Each flush is an event: more of them than are held."""
        with daemon.Daemon(*LOOPBACK, "--kv-blocks", "64", "--max-context-tokens", "1024", "--admin-listen",
                           "127.0.0.1:0") as server:
            for _ in range(9):
                flushes = [server.admin.FlushPrefixCache.future(admin_pb2.FlushPrefixCacheRequest())
                           for _ in range(1000)]
                for flush in flushes:
                    flush.result(daemon.PATIENCE_SECONDS)
            follower = self.follow()
            for _ in range(40):
                self.ask(server, self.prompts.next())
            follower.connect(server)
            self.assertGreater(len(follower.hashes), 10)
            self.assertGreater(self.compare(server, follower, 100), 50)
            self.assertEqual(server.sum("kv_event_replays_total", result="snapshot"), 1)

    def test_bytes_that_no_router_sends_and_wishes_that_no_router_reads_change_nothing(self):
        noise = random.Random(SEED)
        with daemon.Daemon(*LOOPBACK) as server:
            for address in (server.addresses["kv_events"], server.addresses["kv_events_replay"]):
                host, port = address.split(":")
                for size in (1, 10, 64, 1000, 100_000) * 20:
                    with socket.create_connection((host, int(port)), timeout=daemon.PATIENCE_SECONDS) as stranger:
                        with contextlib.suppress(ConnectionError):  # it is cut off
                            stranger.sendall(noise.randbytes(size))
            with self.context.socket(zmq.DEALER) as unread:
                unread.linger = 0
                unread.connect("tcp://" + server.addresses["kv_events_replay"])
                for _ in range(3000):
                    unread.send_multipart([b"", struct.pack(">Q", 0)])
                follower = self.follow()
                follower.connect(server)
                self.assertGreater(self.compare(server, follower, 50), 10)

    def check_live(self, server, follower):
        """What was published is what is repeated, without a hole."""
        follower.catch_up()
        wait_until(lambda: follower.read_live() or follower.live[-1][0] == follower.last, "the last event is published")
        first = follower.live[0][0]
        self.assertEqual([number for number, _ in follower.live], list(range(first, follower.last + 1)))
        self.assertEqual(follower.live, list(follower.ask_again(first)))
        self.assertEqual(server.sum("kv_events_published_total"), follower.last)
        self.assertEqual(server.sum("kv_events_missed_total"), 0)
        self.assertEqual(server.sum("kv_event_replays_total", result="whole"),
                         server.sum("kv_event_replays_total"))

    def test_salts_and_tenants_are_extra_keys_of_first_blocks(self):
        ids = list(range(100, 100 + 3 * BLOCK))
        with daemon.Daemon(*LOOPBACK) as server:
            follower = self.follow()
            follower.connect(server)
            self.ask(server, ids, salt="pepper")
            self.ask(server, ids, tenant="alpha")
            self.ask(server, ids, tenant="alpha", salt="pepper")
            self.ask(server, ids, no_store=True)
            follower.catch_up()
            for keys, count in ((("pepper",), 2), (("tenant:alpha",), 2), (("pepper", "tenant:alpha"), 2), ((), 0)):
                self.assertEqual(follower.foretell(ids, keys), count, keys)
            self.assertEqual(len(follower.hashes), 9)


if __name__ == "__main__":
    unittest.main()
