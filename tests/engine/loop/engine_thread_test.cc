// Engine thread, publisher and readers together, on real threads. Run under ThreadSanitizer, too.
#include "engine/loop/engine_thread.h"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <future>
#include <memory>
#include <mutex>
#include <random>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/loop/publisher_thread.h"
#include "tests/engine/step/engine_harness.h"
#include "tests/engine/stream/stream_reader.h"

namespace latentd {
namespace {

using ::testing::ElementsAreArray;
using ::testing::SizeIs;

constexpr int kVocab = 1000;
const auto kPatience = std::chrono::minutes(1);

// Lets the executor compute only as many steps as it was given.
class Gate {
 public:
  void Allow(int num_steps) {
    std::lock_guard lock(mutex_);
    allowed_ = num_steps;
    changed_.notify_all();
  }
  void Pass() {
    std::unique_lock lock(mutex_);
    ++arrived_;
    changed_.notify_all();
    changed_.wait_for(lock, kPatience, [this] { return arrived_ <= allowed_; });
  }
  // Waits until a step is at the gate that may not pass.
  void AwaitBlocked() {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, kPatience, [this] { return arrived_ > allowed_; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int allowed_ = 1 << 30;
  int arrived_ = 0;
};

class EngineThreadTest : public testing::Test {
 protected:
  void Start(const EngineOptions& options = SmallEngine(), const QueueLoad& most_queued = {1000, 1'000'000},
             EngineChecks checks = {}) {
    FakeExecutorOptions executor{.num_blocks = options.scheduler.cache.num_blocks};
    executor.on_launch = [this](const BatchInputs&, std::span<const SampleRow> samples) {
      gate_.Pass();
      AwaitPublished();
      num_sampled_ += samples.size();
    };
    executor_ = std::make_unique<FakeExecutor>(executor);
    thread_ = std::make_unique<EngineThread>(std::make_unique<Engine>(*executor_, options, metrics_), publisher_,
                                             clock_, most_queued, std::move(checks));
  }

  // Keeps the engine within a step of the publisher, as the model's slowness does: a fake could be done before its
  // first token is published.
  void AwaitPublished() {
    while (metrics_.Snapshot().generated_tokens_delivered < num_sampled_) std::this_thread::yield();
  }

  // As the RPC layer does it: received, then submitted.
  RequestId Submit(Request request, Client& client) {
    request.id = thread_->NextRequestId();
    request.received = clock_.Now();
    metrics_.Update([](MetricsData& data) { data.requests_in_flight.Arrive(Phase::kQueued); });
    const RequestId id = request.id;
    const std::optional<Refusal> refusal = thread_->Submit(std::move(request), client.stream);
    EXPECT_FALSE(refusal.has_value()) << refusal->message;
    return id;
  }

  void FinishRpc() {
    metrics_.Update([](MetricsData& data) { data.requests_in_flight.Leave(Phase::kOutput); });
  }

  SteadyClock clock_;
  Metrics metrics_;
  Gate gate_;
  uint64_t num_sampled_ = 0;  // engine thread only
  std::unique_ptr<FakeExecutor> executor_;
  PublisherThread publisher_{nullptr, metrics_};
  std::unique_ptr<EngineThread> thread_;  // last: ends first
};

TEST_F(EngineThreadTest, StreamsWhatTheExecutorSays) {
  Start();
  Client client;
  Submit(MakeRequest(0, MakePrompt(10), 50), client);
  const StreamChunk all = client.reader.ReadToEnd(*client.stream);
  EXPECT_THAT(IdsOf(all), ElementsAreArray(FakeTokens(MakePrompt(10), 100, 50, kVocab)));
  ASSERT_TRUE(all.end.has_value());
  EXPECT_EQ(all.end->reason, FinishReason::kMaxTokens);
}

TEST_F(EngineThreadTest, WakesReadersOfTheCachesEvents) {
  Start();
  std::promise<KvEvent> stored;
  KvEventReader reader(thread_->kv_events(), 2, [&] {
    for (const KvEvent& event : reader.Take(10)) stored.set_value(event);
  });
  Client client;
  Submit(MakeRequest(0, MakePrompt(70), 1), client);
  EXPECT_EQ(stored.get_future().get().kind, KvEvent::Kind::kStored);
}

TEST_F(EngineThreadTest, SeveralAnswersAreOneRequestWithOneEnd) {
  Start();
  Client client;
  Request request = MakeRequest(0, MakePrompt(70), 50);
  request.num_sequences = 4;
  Submit(request, client);
  const std::vector<StreamChunk> answers = client.reader.ReadAnswers(*client.stream).by_index;
  ASSERT_THAT(answers, SizeIs(4));
  for (uint32_t index = 0; index < 4; ++index) {
    EXPECT_THAT(IdsOf(answers[index]), ElementsAreArray(FakeTokens(MakePrompt(70), FakeSeed(100, index), 50, kVocab)));
    EXPECT_EQ(answers[index].answer_end->output_tokens, 50);
  }
  EXPECT_TRUE(thread_->AwaitIdle(kNever)) << "with the request, not with so many sequences";
  FinishRpc();
  const MetricsData data = metrics_.Snapshot();
  for (const int64_t in_flight : data.requests_in_flight.counts()) EXPECT_EQ(in_flight, 0);
  EXPECT_EQ(data.prompt_tokens_admitted, 70u);
  EXPECT_EQ(data.prompt_tokens_computed + data.prompt_tokens_cached, 70u);
}

TEST_F(EngineThreadTest, DescribesBetweenStepsWhatWasSubmittedBefore) {
  gate_.Allow(1);
  Start();
  Client first, second;
  const RequestId running = Submit(MakeRequest(0, MakePrompt(10), 500), first);
  bool was_full = false;
  ASSERT_TRUE(first.reader.AwaitChunk(*first.stream, &was_full).has_value());
  const RequestId queued = Submit(MakeRequest(0, MakePrompt(20), 500), second);
  EXPECT_EQ(thread_->waiting().requests, 1);
  EXPECT_EQ(thread_->waiting().tokens, 20);
  std::promise<std::vector<SequenceStatus>> told;
  thread_->Describe([&told](std::vector<SequenceStatus> all) { told.set_value(std::move(all)); });
  gate_.Allow(1 << 30);
  std::future<std::vector<SequenceStatus>> answer = told.get_future();
  ASSERT_EQ(answer.wait_for(kPatience), std::future_status::ready);
  const std::vector<SequenceStatus> all = answer.get();
  ASSERT_THAT(all, SizeIs(2));
  EXPECT_EQ(all[0].id.request, running);
  EXPECT_EQ(all[0].phase, Phase::kDecode);
  EXPECT_EQ(all[1].id.request, queued);
  EXPECT_EQ(all[1].phase, Phase::kQueued);
  thread_->CancelAll();
}

TEST_F(EngineThreadTest, InvariantsAreCheckedWhileRequestsRun) {
  std::atomic<bool> saw_running = false;
  Start(SmallEngine(), {1000, 1'000'000},
        {.check =
             [&](const Scheduler& scheduler) {
               if (scheduler.num_running() > 0) saw_running = true;
               return absl::OkStatus();
             },
         .on_broken = [](const absl::Status&, const FlightRecorder&) { FAIL() << "nothing is broken"; }});
  // On and on until a check saw one: the clock decides when a check is due.
  for (int i = 0; i < 1000 && !saw_running; ++i) {
    Client client;
    Submit(MakeRequest(0, MakePrompt(10), 50), client);
    client.reader.ReadToEnd(*client.stream);
  }
  thread_.reset();
  EXPECT_TRUE(saw_running);
}

TEST_F(EngineThreadTest, BrokenInvariantIsToldOnceAndRequestsGoOn) {
  int num_checks = 0, num_told = 0;  // engine thread only, until it has ended
  std::string told;
  const FlightRecorder* recorder = nullptr;
  Start(SmallEngine(), {1000, 1'000'000},
        {.check =
             [&](const Scheduler&) {
               ++num_checks;
               return absl::InternalError("block 7 is held twice");
             },
         .on_broken =
             [&](const absl::Status& broken, const FlightRecorder& recorded) {
               ++num_told;
               told = std::string(broken.message());
               recorder = &recorded;
             }});
  const FlightRecorder* expected = &thread_->recorder();
  Client client;
  Submit(MakeRequest(0, MakePrompt(10), 50), client);
  const StreamChunk all = client.reader.ReadToEnd(*client.stream);
  EXPECT_THAT(IdsOf(all), ElementsAreArray(FakeTokens(MakePrompt(10), 100, 50, kVocab)));
  thread_.reset();
  EXPECT_EQ(num_checks, 1);
  EXPECT_EQ(num_told, 1);
  EXPECT_EQ(told, "block 7 is held twice");
  EXPECT_EQ(recorder, expected);
}

TEST_F(EngineThreadTest, IdleEngineDescribesToo) {
  Start();
  std::promise<size_t> told;
  thread_->Describe([&told](std::vector<SequenceStatus> all) { told.set_value(all.size()); });
  std::future<size_t> answer = told.get_future();
  ASSERT_EQ(answer.wait_for(kPatience), std::future_status::ready);
  EXPECT_EQ(answer.get(), 0u);
}

TEST_F(EngineThreadTest, FirstTokenArrivesBeforeTheRestIsComputed) {
  gate_.Allow(1);
  Start();
  Client client;
  const RequestId id = Submit(MakeRequest(0, MakePrompt(10), 500), client);
  bool was_full = false;
  const std::optional<StreamChunk> chunk = client.reader.AwaitChunk(*client.stream, &was_full);
  ASSERT_TRUE(chunk.has_value());
  EXPECT_EQ(chunk->tokens_so_far, 1);
  gate_.AwaitBlocked();  // the second step is on its way; cancelling now must be the end of it
  thread_->Cancel(id);
  gate_.Allow(1 << 30);
  const StreamChunk rest = client.reader.ReadToEnd(*client.stream);
  EXPECT_EQ(rest.end->reason, FinishReason::kCancelled);
  EXPECT_EQ(rest.end->output_tokens, 2);
  EXPECT_EQ(metrics_.Snapshot().kv_blocks_active, 0);
}

TEST_F(EngineThreadTest, FullQueueRefuses) {
  gate_.Allow(0);
  EngineOptions options = SmallEngine();
  options.scheduler.max_step_rows = 1;
  Start(options, {.requests = 2, .tokens = 1000});
  std::vector<Client> clients(4);
  Submit(MakeRequest(0, MakePrompt(10), 5), clients[0]);
  gate_.AwaitBlocked();  // it is planned, but still counts as queued until its step is over
  Submit(MakeRequest(0, MakePrompt(10), 5), clients[1]);
  Request third = MakeRequest(thread_->NextRequestId(), MakePrompt(10), 5);
  EXPECT_EQ(thread_->Submit(third, clients[2].stream)->cause, RefusalCause::kQueueFull);
  gate_.Allow(1 << 30);
  EXPECT_TRUE(clients[0].reader.ReadToEnd(*clients[0].stream).end.has_value());
  EXPECT_TRUE(clients[1].reader.ReadToEnd(*clients[1].stream).end.has_value());
  Submit(MakeRequest(0, MakePrompt(10), 5), clients[3]);
  EXPECT_TRUE(clients[3].reader.ReadToEnd(*clients[3].stream).end.has_value());
}

TEST_F(EngineThreadTest, QueueIsBoundedInTokensToo) {
  gate_.Allow(0);
  Start(SmallEngine(), {.requests = 100, .tokens = 50});
  std::vector<Client> clients(4);
  Submit(MakeRequest(0, MakePrompt(100), 5), clients[0]);  // alone it may be as long as it likes
  gate_.AwaitBlocked();
  Request second = MakeRequest(thread_->NextRequestId(), MakePrompt(10), 5);
  EXPECT_EQ(thread_->Submit(second, clients[1].stream)->cause, RefusalCause::kQueueTokens);
  gate_.Allow(1 << 30);
  EXPECT_TRUE(clients[0].reader.ReadToEnd(*clients[0].stream).end.has_value());
  Submit(MakeRequest(0, MakePrompt(10), 5), clients[2]);
  EXPECT_TRUE(clients[2].reader.ReadToEnd(*clients[2].stream).end.has_value());
}

TEST_F(EngineThreadTest, RefusesWhatCanNeverRunBeforeItIsQueued) {
  Start();
  Client client;
  EXPECT_EQ(thread_->Submit(MakeRequest(1, {}, 5), client.stream)->cause, RefusalCause::kNeverFits);
  EXPECT_TRUE(thread_->AwaitIdle(clock_.Now()));
}

TEST_F(EngineThreadTest, DrainsWhatWasAdmitted) {
  Start();
  std::vector<Client> clients(8);
  for (Client& client : clients) Submit(MakeRequest(0, MakePrompt(10), 200), client);
  thread_->StopAdmitting();
  Client late;
  EXPECT_EQ(thread_->Submit(MakeRequest(thread_->NextRequestId(), MakePrompt(1), 5), late.stream)->cause,
            RefusalCause::kDraining);
  EXPECT_TRUE(thread_->AwaitIdle(clock_.Now() + kPatience));
  for (Client& client : clients) {
    EXPECT_TRUE(client.stream->has_end());
    const StreamChunk all = client.reader.ReadToEnd(*client.stream);
    ASSERT_TRUE(all.end.has_value());
    EXPECT_EQ(all.end->reason, FinishReason::kMaxTokens);
    EXPECT_THAT(all.tokens, SizeIs(200));
  }
}

TEST_F(EngineThreadTest, CancelAllEndsTheRest) {
  gate_.Allow(0);
  Start();
  std::vector<Client> clients(8);
  for (Client& client : clients) Submit(MakeRequest(0, MakePrompt(10), 200), client);
  EXPECT_FALSE(thread_->AwaitIdle(clock_.Now()));
  thread_->CancelAll();
  gate_.Allow(1 << 30);
  EXPECT_TRUE(thread_->AwaitIdle(clock_.Now() + kPatience));
  for (Client& client : clients) {
    EXPECT_EQ(client.reader.ReadToEnd(*client.stream).end->reason, FinishReason::kDraining);
  }
}

TEST_F(EngineThreadTest, DestructionEndsEachStream) {
  Start();
  std::vector<Client> clients(8);
  for (Client& client : clients) Submit(MakeRequest(0, MakePrompt(10), 1000), client);
  thread_.reset();
  for (Client& client : clients) {
    ASSERT_TRUE(client.stream->has_end());
    EXPECT_TRUE(client.reader.ReadToEnd(*client.stream).end.has_value());
  }
}

TEST_F(EngineThreadTest, StalledReaderKeepsNoBlocksFromOthers) {
  EngineOptions options = SmallEngine();
  options.scheduler.cache.num_blocks = 5;
  options.scheduler.max_context_tokens = 256;
  Start(options);
  Client full(100);
  Client waiting;
  Submit(MakeRequest(0, MakePrompt(130), 100), full);  // soon paused: it is not read
  bool was_full = false;
  while (!full.stream->full()) std::this_thread::yield();
  Submit(MakeRequest(0, MakePrompt(180, 1), 20), waiting);
  EXPECT_EQ(waiting.reader.ReadToEnd(*waiting.stream).end->reason, FinishReason::kMaxTokens);
  EXPECT_TRUE(full.stream->Take(&was_full).has_value());
}

TEST_F(EngineThreadTest, StalledReaderEndsAndHarmsNoOther) {
  EngineOptions options = SmallEngine();
  options.scheduler.slow_consumer_seconds = 0.05;
  Start(options);
  Client stalled(1000);
  Client other;
  Submit(MakeRequest(0, MakePrompt(10), 900), stalled);
  Submit(MakeRequest(0, MakePrompt(20), 900), other);
  EXPECT_THAT(IdsOf(other.reader.ReadToEnd(*other.stream)),
              ElementsAreArray(FakeTokens(MakePrompt(20), 100, 900, kVocab)));
  EXPECT_TRUE(thread_->AwaitIdle(clock_.Now() + kPatience));
  const StreamChunk all = stalled.reader.ReadToEnd(*stalled.stream);
  ASSERT_TRUE(all.end.has_value());
  EXPECT_EQ(all.end->reason, FinishReason::kSlowConsumer);
  EXPECT_LT(all.end->output_tokens, 100);
}

// A third each read as it comes, read only when their stream is full and so are paused again and again, and cancel.
enum class Reading { kSteady, kSlow, kCancelling };

struct Workload {
  Request request;
  Reading reading = Reading::kSteady;
  int cancel_after = 0;  // tokens
  StreamChunk seen = {};
};

std::vector<Workload> DrawWorkloads(int num_streams, uint64_t seed) {
  std::mt19937_64 random(seed);
  const auto below = [&](int bound) { return static_cast<int>(random() % static_cast<uint64_t>(bound)); };
  std::vector<Workload> workloads;
  for (int i = 0; i < num_streams; ++i) {
    workloads.push_back({.request = MakeRequest(0, MakePrompt(1 + below(150), i), 100 + below(300)),
                         .reading = static_cast<Reading>(i % 3),
                         .cancel_after = below(200)});
    workloads.back().request.sampling.seed = static_cast<uint64_t>(1 + below(1000));
  }
  return workloads;
}

class ManyStreamsTest : public EngineThreadTest {
 protected:
  // One client from Submit to the end of its stream, on its own thread.
  void Serve(Workload& workload) {
    Client client(workload.reading == Reading::kSlow ? 2000 : 1 << 20);
    const RequestId id = Submit(workload.request, client);
    const bool cancels = workload.reading == Reading::kCancelling;
    if (cancels && workload.cancel_after == 0) thread_->Cancel(id);
    StreamChunk& seen = workload.seen;
    while (!seen.end) {
      while (workload.reading == Reading::kSlow && !client.stream->full() && !client.stream->has_end()) {
        std::this_thread::yield();
      }
      bool was_full = false;
      std::optional<StreamChunk> chunk = client.reader.AwaitChunk(*client.stream, &was_full);
      if (!chunk) return;
      if (was_full) thread_->Resume(id);
      seen.tokens.insert(seen.tokens.end(), chunk->tokens.begin(), chunk->tokens.end());
      seen.tokens_so_far = chunk->tokens_so_far;
      seen.end = chunk->end;
      if (cancels && seen.tokens_so_far >= workload.cancel_after) thread_->Cancel(id);
    }
    FinishRpc();
  }

  static void ExpectAsAlone(const Workload& workload) {
    ASSERT_TRUE(workload.seen.end.has_value());
    const Request& request = workload.request;
    const std::vector<int32_t> alone =
        FakeTokens(request.prompt, request.sampling.seed, request.stopping.max_tokens, kVocab);
    const std::vector<int32_t> got = IdsOf(workload.seen);
    ASSERT_LE(got.size(), alone.size());
    EXPECT_GE(got.size(), workload.reading == Reading::kCancelling ? 0 : alone.size());
    EXPECT_TRUE(std::equal(got.begin(), got.end(), alone.begin()));
    EXPECT_EQ(workload.seen.end->output_tokens, static_cast<int>(got.size()));
    EXPECT_EQ(workload.seen.tokens_so_far, static_cast<int>(got.size()));
  }
};

TEST_F(ManyStreamsTest, EachGetsItsOutputAndOneEnd) {
  constexpr uint64_t kSeed = 20240607;
  SCOPED_TRACE(testing::Message() << "seed " << kSeed);
  EngineOptions options = SmallEngine();
  options.scheduler.cache.shuffle_seed = kSeed;
  options.scheduler.max_step_rows = 24;
  options.scheduler.slow_consumer_seconds = 3600;
  Start(options);
  std::vector<Workload> workloads = DrawWorkloads(64, kSeed);
  std::vector<std::thread> threads;
  for (Workload& workload : workloads) threads.emplace_back([this, &workload] { Serve(workload); });
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(thread_->AwaitIdle(clock_.Now() + kPatience));

  size_t num_tokens = 0;
  size_t num_prompt_tokens = 0;
  for (const Workload& workload : workloads) {
    ExpectAsAlone(workload);
    num_tokens += workload.seen.tokens.size();
    num_prompt_tokens += workload.request.prompt.size();
  }
  const MetricsData data = metrics_.Snapshot();
  EXPECT_THAT(data.requests_in_flight.counts(), testing::Each(0));
  EXPECT_EQ(data.kv_blocks_active, 0);
  EXPECT_EQ(data.kv_blocks_free + data.kv_blocks_cached, data.kv_blocks_total - data.kv_blocks_reserved);
  EXPECT_EQ(data.generated_tokens_delivered, num_tokens);
  EXPECT_EQ(data.generated_tokens_discarded, 0u);
  EXPECT_LE(data.prompt_tokens_computed, num_prompt_tokens);
}

}  // namespace
}  // namespace latentd
