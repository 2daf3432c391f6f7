#include "tests/server/api/finite_answers.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <utility>

#include <gtest/gtest.h>

#include "engine/step/engine.h"
#include "server/api/answer_limit.h"
#include "server/api/events.h"
#include "tests/kernels/sampling_backend.h"
#include "tests/server/api/request_bytes.h"
#include "tests/support/load_directory.h"
#include "tests/support/manual_clock.h"
#include "tests/support/or_die.h"

namespace latentd {
namespace {

constexpr int kNumBlocks = 200;
constexpr int kMostTokens = 4;  // penalties of what was generated need some
const char* const kModel = "models/tiny-tales";

using Limits = std::numeric_limits<float>;
constexpr std::array kEdges = {
    0.0f,           -0.0f,         1.0f,  -1.0f,          7.5f,   -12.25f, Limits::denorm_min(),
    -Limits::min(), Limits::max(), 1e38f, -Limits::max(), -1e38f, 88.5f,   -104.0f};

// What became of one request.
struct Answered {
  StreamChunk chunk;
  bool has_ended = false;
};

void ExpectFinite(const SampleResult& token) {
  EXPECT_TRUE(token.finite);
  EXPECT_TRUE(std::isfinite(token.logprob)) << token.logprob;
  EXPECT_TRUE(std::isfinite(token.sampled_logprob)) << token.sampled_logprob;
  for (const TokenLogprob& best : token.top) EXPECT_TRUE(std::isfinite(best.logprob)) << best.logprob;
}

// The same in few tokens.
void Shorten(ValidRequest& valid) {
  StoppingRule& stopping = valid.request.stopping;
  stopping.max_tokens = std::min(stopping.max_tokens, kMostTokens);
  stopping.min_tokens = std::min(stopping.min_tokens, stopping.max_tokens);
  valid.stopping.set_max_tokens(static_cast<uint32_t>(stopping.max_tokens));
}

size_t AnswerBytes(const ValidRequest& valid, const Answered& answered) {
  const v1::Model model = ModelWith({.vocab_size = kRunVocabulary, .max_context_tokens = kRunContext});
  const std::string longest_id(128, 'x');
  if (valid.request.kind == RequestKind::kScore) {
    v1::ScoreResult score;
    AppendPositions(answered.chunk, &score);
    score.set_request_id(longest_id);
    return score.ByteSizeLong();
  }
  v1::GenerateResult result;
  *result.mutable_started() =
      MakeStarted({.request_id = longest_id, .prompt_tokens = kRunContext, .request = valid, .model = model});
  AppendToDelta(answered.chunk, valid.output, result.add_sequences()->mutable_output());
  return result.ByteSizeLong();
}

void Step(Engine& engine, std::vector<Answered>& answered, bool* is_idle) {
  const ManualClock clock;
  StepOutput output;
  std::optional<StepInFlight> step = engine.Begin(clock.Now());
  if (step) engine.Complete(*std::move(step), clock, output);
  for (const SequenceOutput& sequence : output.sequences) {
    Answered& one = answered[sequence.id.request];
    for (const SampleResult& token : output.TokensOf(sequence)) {
      ExpectFinite(token);
      one.chunk.tokens.push_back({.id = token.id,
                                  .bytes = {},
                                  .logprob = token.logprob,
                                  .sampled_logprob = token.sampled_logprob,
                                  .top = token.top});
    }
  }
  for (const SequenceEnd& end : output.ends) {
    EXPECT_NE(end.reason, FinishReason::kNonFiniteLogits) << "request " << end.id.request;
    answered[end.id.request].has_ended = true;
  }
  *is_idle = output.idle();
}

}  // namespace

BundledModel::BundledModel() : backend_(OrDie(MakeCpuBackend(2))) {
  const ModelLimits limits = {
      .num_blocks = kNumBlocks, .max_tokens = 256, .max_rows = 64, .max_logit_rows = 64, .max_context = kRunContext};
  model_ = LoadDirectory(kModel, limits, *backend_.device, *backend_.ops);
  executor_ = std::make_unique<ModelExecutor>(*model_, backend_);
}

EdgeLogits::EdgeLogits(uint32_t seed) : backend_(MakeSamplingBackend(2, kRunVocabulary)), random_(seed) {}

void EdgeLogits::Launch(const BatchInputs&, std::span<const SampleRow> samples, std::span<const DraftRow>) {
  logits_.resize(samples.size() * kRunVocabulary);
  for (float& logit : logits_) logit = kEdges[random_() % kEdges.size()];
  const int num_rows = static_cast<int>(samples.size());
  results_ = SampleOn(*backend_.ops, {logits_.data(), num_rows, kRunVocabulary, kRunVocabulary}, samples);
}

void ExpectFiniteAnswers(StepExecutor& executor, std::vector<ValidRequest> requests) {
  Metrics metrics;
  Engine engine(
      executor,
      {.scheduler = {.cache = {.num_blocks = kNumBlocks}, .max_step_tokens = 256, .max_context_tokens = kRunContext},
       .step = {},
       .vocabulary = {.eos_ids = {1}, .has_token = {}}},
      metrics);
  std::vector<Answered> answered(requests.size());
  for (size_t i = 0; i < requests.size(); ++i) {
    Shorten(requests[i]);
    requests[i].request.id = i;
    EXPECT_TRUE(engine.Add(requests[i].request).ok());
  }
  for (bool is_idle = false; !is_idle;) Step(engine, answered, &is_idle);
  for (size_t i = 0; i < requests.size(); ++i) {
    EXPECT_TRUE(answered[i].has_ended);
    EXPECT_LE(AnswerBytes(requests[i], answered[i]), MostAnswerBytes(requests[i], kRunVocabulary));
  }
}

}  // namespace latentd
