#include "tests/engine/speculation/drafting.h"

#include <utility>

#include "kernels/id_bits.h"

namespace latentd {

void DraftCounts::Count(const EngineRun& run) {
  for (const auto& [id, end] : run.ends()) {
    num_right += end.accepted_tokens;
    num_wrong += end.drafted_tokens - end.accepted_tokens;
    num_ended += end.stop_token_id >= 0 ? 1 : 0;
  }
}

void DraftCounts::ExpectSome() const {
  EXPECT_GT(num_right, 10);
  EXPECT_GT(num_wrong, 10);
  EXPECT_GT(num_ended, 0);
}

std::vector<TokenBias> Drafting::AnyBias() {
  std::vector<TokenBias> biases;
  for (int32_t id = Below(7); id < model_.vocab_size(); id += 1 + Below(model_.vocab_size() / 4)) {
    biases.push_back({.id = id, .bias = static_cast<float>(Below(9) - 2)});
  }
  return biases;
}

Request Drafting::AnyDraw(RequestId id, std::vector<int32_t> prompt) {
  constexpr float kTemperatures[] = {0.0f, 0.7f, 1.0f};
  Request request{.id = id, .prompt = std::move(prompt)};
  request.sampling = {.temperature = kTemperatures[id % 3],
                      .top_k = OneOf(4) ? 20 : 0,
                      .top_p = OneOf(2) ? 0.9f : 1.0f,
                      .min_p = OneOf(4) ? 0.05f : 0.0f,
                      .presence_penalty = OneOf(3) ? 0.6f : 0.0f,
                      .frequency_penalty = OneOf(3) ? 0.4f : 0.0f,
                      .repetition_penalty = OneOf(3) ? 1.2f : 1.0f,
                      .seed = id};
  request.stopping.max_tokens = 1 + Below(32);
  request.stopping.min_tokens = OneOf(3) ? Below(request.stopping.max_tokens) : 0;
  request.stopping.ignore_eos = OneOf(4);
  if (OneOf(2)) request.logit_bias = AnyBias();
  // Few choices: the model's own drafts are right now and then.
  if (OneOf(3)) {
    std::vector<uint32_t> allowed(kEosIds.begin(), kEosIds.end());
    for (const int32_t id : Ids(4)) allowed.push_back(static_cast<uint32_t>(id));
    request.allowed = BitsOf(allowed, static_cast<size_t>(model_.vocab_size()));
  }
  request.answer.num_top_logprobs = Below(3) - 1;
  request.num_sequences = OneOf(8) ? 3 : 1;
  return request;
}

PlainRequest Drafting::Plain(const Request& request) {
  PlainRequest plain{.request = request, .answers = {}, .ends = {}};
  EngineRun run(model_, {});
  Add(run, plain, 0);
  run.RunToEnd();
  for (int32_t index = 0; index < request.num_sequences; ++index) {
    plain.answers.push_back(run.AnswerOf(request.id, index));
    plain.ends.push_back(run.ends().at({request.id, index}));
    EXPECT_EQ(plain.ends.back().drafted_tokens, 0);
    std::vector<int32_t> tokens = request.prompt;
    const std::vector<int32_t>& ids = plain.answers.back().ids;
    tokens.insert(tokens.end(), ids.begin(), ids.end());
    model_.known_answers().Add(request.sampling.seed, index, std::move(tokens));
  }
  return plain;
}

PlainRequest Drafting::AnyPlain(RequestId id, std::vector<int32_t> prompt) {
  PlainRequest plain = Plain(AnyDraw(id, std::move(prompt)));
  if (!OneOf(3)) return plain;
  const std::vector<int32_t>& ids = plain.answers[0].ids;
  plain.request.stopping.stop_token_ids = {ids[static_cast<size_t>(Below(static_cast<int>(ids.size())))]};
  return Plain(plain.request);
}

void Drafting::Add(EngineRun& run, const PlainRequest& plain, int max_drafts) {
  Request request = plain.request;
  request.max_drafts = max_drafts;
  run.Add(std::move(request));
}

void Drafting::ExpectPlain(const EngineRun& run, const PlainRequest& plain) {
  const RequestId id = plain.request.id;
  SCOPED_TRACE(testing::Message() << "request " << id);
  for (int32_t index = 0; index < plain.request.num_sequences; ++index) {
    const SequenceEnd& end = run.ends().at({id, index});
    const SequenceEnd& plain_end = plain.ends[static_cast<size_t>(index)];
    if (end.reason == FinishReason::kCancelled) continue;
    EXPECT_TRUE(SameAnswer(run.AnswerOf(id, index), plain.answers[static_cast<size_t>(index)])) << index;
    EXPECT_EQ(end.reason, plain_end.reason) << index;
    EXPECT_EQ(end.stop_token_id, plain_end.stop_token_id) << index;
    EXPECT_EQ(end.generated_tokens, plain_end.generated_tokens) << index;
  }
}

}  // namespace latentd
