// The whole engine on the bundled model, on real threads: ids to text, the same bytes in any company. Run under the
// sanitizers, too.
#include <chrono>
#include <memory>
#include <random>

#include <gtest/gtest.h>

#include "base/check.h"
#include "engine/loop/engine_thread.h"
#include "engine/loop/publisher_thread.h"
#include "engine/step/model_executor.h"
#include "tests/engine/stream/stream_reader.h"
#include "tests/support/load_directory.h"
#include "tests/support/or_die.h"

namespace latentd {
namespace {

const char* const kModel = "models/tiny-tales";
constexpr int kNumBlocks = 200;
constexpr int kContext = 512;

class RealModel : public testing::Test {
 protected:
  RealModel() {
    const ModelLimits limits = {
        .num_blocks = kNumBlocks, .max_tokens = 256, .max_rows = 64, .max_logit_rows = 64, .max_context = kContext};
    model_ = LoadDirectory(kModel, limits, *backend_.device, *backend_.ops);
    executor_ = std::make_unique<ModelExecutor>(*model_, backend_);
    const EngineOptions options = {.scheduler = {.cache = {.num_blocks = kNumBlocks},
                                                 .max_step_tokens = limits.max_tokens,
                                                 .max_context_tokens = kContext},
                                   .vocabulary = {.eos_ids = model_->config().eos_ids}};
    thread_ = std::make_unique<EngineThread>(std::make_unique<Engine>(*executor_, options, metrics_), publisher_,
                                             clock_, QueueLoad{.requests = 1000, .tokens = 1'000'000});
  }

  Request MakeRequest(const std::string& text, uint64_t seed) {
    Request request{.id = thread_->NextRequestId(), .prompt = {0}};
    const std::vector<int32_t> ids = OrDie(tokenizer_->Encode(text, SpecialTokens::kRecognize));
    request.prompt.insert(request.prompt.end(), ids.begin(), ids.end());
    request.sampling = {.temperature = 0.8f, .top_p = 0.95f, .seed = seed};
    request.stopping = {.max_tokens = 24};
    return request;
  }
  void Submit(Request request, Client& client) {
    const std::optional<Refusal> refusal = thread_->Submit(std::move(request), client.stream);
    ASSERT_FALSE(refusal.has_value()) << refusal->message;
  }
  StreamChunk Answer(Request request) {
    Client client;
    Submit(std::move(request), client);
    return client.reader.ReadToEnd(*client.stream);
  }
  MetricsData Idle() {
    EXPECT_TRUE(thread_->AwaitIdle(clock_.Now() + std::chrono::minutes(2)));
    return metrics_.Snapshot();
  }

  Backend backend_ = OrDie(MakeCpuBackend(2));
  std::unique_ptr<Model> model_;
  std::unique_ptr<ModelExecutor> executor_;
  std::unique_ptr<Tokenizer> tokenizer_ = OrDie(Tokenizer::Load(kModel));
  const SteadyClock clock_;
  Metrics metrics_;
  PublisherThread publisher_{tokenizer_.get(), metrics_};
  std::unique_ptr<EngineThread> thread_;
};

const char* const kOpenings[] = {"Once upon a time", "The king said", "In a dark wood there lived an old witch who",
                                 "\"Come here,\" cried the fox, \"and I will tell you"};

TEST_F(RealModel, ThirtyTwoStreamsGiveTheBytesThatEachGivesAlone) {
  constexpr uint64_t kStreams = 32;
  std::vector<StreamChunk> alone;
  for (uint64_t i = 0; i < kStreams; ++i) alone.push_back(Answer(MakeRequest(kOpenings[i % 4], i)));
  std::vector<std::unique_ptr<Client>> clients;
  for (uint64_t i = 0; i < kStreams; ++i) {
    Submit(MakeRequest(kOpenings[i % 4], i), *clients.emplace_back(std::make_unique<Client>()));
  }
  for (uint64_t i = 0; i < kStreams; ++i) {
    const StreamChunk together = clients[i]->reader.ReadToEnd(*clients[i]->stream);
    EXPECT_EQ(together.text, alone[i].text) << "stream " << i;
    EXPECT_EQ(IdsOf(together), IdsOf(alone[i])) << "stream " << i;
    EXPECT_FALSE(together.text.empty());
  }
  EXPECT_NE(alone[0].text, alone[4].text) << "another seed gives another story";
}

TEST_F(RealModel, StopStringsCutTheText) {
  Request request = MakeRequest(kOpenings[0], 1);
  const std::string whole = Answer(request).text;
  ASSERT_GT(whole.size(), 12u);
  const std::string stop = whole.substr(8, 4);
  request.id = thread_->NextRequestId();
  request.stopping.stop_strings = {stop};
  const StreamChunk cut = Answer(request);
  ASSERT_TRUE(cut.end.has_value());
  EXPECT_EQ(cut.end->reason, FinishReason::kStopString);
  EXPECT_EQ(cut.answer_end->stop_string, stop);
  EXPECT_EQ(cut.text, whole.substr(0, whole.find(stop)));
}

TEST_F(RealModel, CancelledStreamsHarmNobodyAndEveryBlockComesHome) {
  constexpr uint64_t kStreams = 16;
  std::mt19937_64 random(7);
  std::vector<std::string> alone;
  for (uint64_t i = 0; i < kStreams; ++i) alone.push_back(Answer(MakeRequest(kOpenings[i % 4], i)).text);
  std::vector<std::unique_ptr<Client>> clients;
  for (uint64_t i = 0; i < kStreams; ++i) {
    Request request = MakeRequest(kOpenings[i % 4], i);
    const RequestId id = request.id;
    Submit(std::move(request), *clients.emplace_back(std::make_unique<Client>()));
    if (i % 3 != 0) continue;
    bool was_full = false;
    if (std::bernoulli_distribution(0.5)(random)) clients.back()->reader.AwaitChunk(*clients.back()->stream, &was_full);
    thread_->Cancel(id);
  }
  for (uint64_t i = 0; i < kStreams; ++i) {
    if (i % 3 == 0) continue;
    EXPECT_EQ(clients[i]->reader.ReadToEnd(*clients[i]->stream).text, alone[i]) << "stream " << i;
  }
  const MetricsData metrics = Idle();
  EXPECT_EQ(metrics.kv_blocks_active, 0);
  EXPECT_EQ(metrics.kv_blocks_free + metrics.kv_blocks_cached + metrics.kv_blocks_reserved, metrics.kv_blocks_total);
}

TEST_F(RealModel, ScoreGivesALogProbabilityForEveryTokenAfterTheFirst) {
  Request request = MakeRequest(kOpenings[2], 0);
  const std::vector<int32_t> prompt = request.prompt;
  request.kind = RequestKind::kScore;
  request.answer.num_prompt_logprobs = 2;
  const StreamChunk scored = Answer(request);
  ASSERT_EQ(scored.tokens.size(), prompt.size() - 1);
  for (size_t i = 0; i < scored.tokens.size(); ++i) {
    EXPECT_EQ(scored.tokens[i].id, prompt[i + 1]);
    EXPECT_LT(scored.tokens[i].logprob, 0.0f);
    ASSERT_EQ(scored.tokens[i].top.size(), 2u);
    EXPECT_GE(scored.tokens[i].top[0].logprob, scored.tokens[i].logprob);
  }
}

}  // namespace
}  // namespace latentd
