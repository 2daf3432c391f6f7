#include "tests/simulation/workload.h"

#include <algorithm>
#include <array>
#include <limits>

#include "tests/simulation/fake_model.h"
#include "tests/simulation/random.h"

namespace latentd::simulation {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr int kLeastRequests = 60, kMostRequests = 140;

EngineOptions DrawEngine(Random& random) {
  EngineOptions options;
  options.scheduler = {.cache = {.num_blocks = random.OneIn(3) ? random.Between(3, 8) : random.Between(8, 40),
                                .shuffle_seed = random.OneIn(2) ? random.Next() : 0},
                       .max_step_tokens = random.OneIn(4) ? random.Between(1, 16) : random.Between(16, 256),
                       .max_step_rows = random.Between(1, 16),
                       .max_step_logits = random.Between(1, 24),
                       .chunk_tokens = random.OneIn(2) ? random.Between(1, 90) : 0,
                       .max_context_tokens = random.OneIn(4) ? random.Between(500, 900) : random.Between(100, 500),
                       .slow_consumer_seconds = random.Between(1, 20) * 0.1};
  const bool is_bounded = random.OneIn(2);
  options.step = {
      .max_step_seconds = is_bounded ? random.Between(5, 100) * 0.001 : std::numeric_limits<double>::infinity(),
      .first_tokens = random.Between(1, 64),
      .tokens_per_second = random.OneIn(2) ? random.Between(100, 20000) : 0.0,
      .work_per_key = random.OneIn(2) ? random.Between(1, 20) * 0.001 : 0.0,
      .min_tokens = random.Between(1, 16)};
  options.vocabulary.eos_ids = {kEndOfText};
  return options;
}

std::vector<int32_t> DrawPrompt(int number, int num_tokens, Random& random) {
  std::vector<int32_t> prompt = {kFirstOfPrompts + number};
  while (static_cast<int>(prompt.size()) < num_tokens) {
    prompt.push_back(kAlphabet[static_cast<size_t>(random.Below(kAlphabet.size()))]);
  }
  return prompt;
}

int32_t DrawLetter(Random& random) { return kAlphabet[static_cast<size_t>(random.Below(8))]; }

void DrawStops(Random& random, StoppingRule& stopping) {
  for (int left = random.OneIn(3) ? random.Between(1, 3) : 0; left > 0; --left) {
    std::string stop;
    for (int size = random.Between(1, 4); size > 0; --size) stop += static_cast<char>(DrawLetter(random));
    stopping.stop_strings.push_back(std::move(stop));
  }
  for (int left = random.OneIn(5) ? random.Between(1, 2) : 0; left > 0; --left) {
    stopping.stop_token_ids.push_back(DrawLetter(random));
  }
  stopping.include_stop = random.OneIn(2);
  stopping.ignore_eos = random.OneIn(4);
}

// The fake model draws by the seed alone; the rest only has to arrive at the sampler.
void DrawSampling(Random& random, Request& request) {
  request.sampling.seed = random.Next();
  if (!random.OneIn(3)) return;
  request.sampling.temperature = static_cast<float>(random.Below(20)) * 0.1f;
  request.sampling.top_k = random.Below(40);
  request.sampling.top_p = static_cast<float>(random.Between(1, 10)) * 0.1f;
  request.sampling.min_p = static_cast<float>(random.Below(10)) * 0.1f;
  request.sampling.presence_penalty = static_cast<float>(random.Between(-2, 2));
  request.sampling.frequency_penalty = static_cast<float>(random.Between(-2, 2));
  request.sampling.repetition_penalty = static_cast<float>(random.Between(1, 3));
  for (int left = random.Below(4); left > 0; --left) {
    request.logit_bias.push_back({.id = left, .bias = static_cast<float>(random.Between(-5, 5))});
  }
  for (int left = random.Below(6); left > 0; --left) request.allowed.push_back(random.Next());
}

Request DrawRequest(int number, int max_context_tokens, Random& random) {
  Request request;
  const int most = random.OneIn(30) ? max_context_tokens + 4 : max_context_tokens / (random.OneIn(3) ? 1 : 6);
  request.prompt = DrawPrompt(number, random.Between(1, std::max(1, most)), random);
  DrawSampling(random, request);
  request.answer.prints_special_tokens = random.OneIn(4);
  if (random.OneIn(8)) {
    request.kind = RequestKind::kScore;
    request.answer.num_prompt_logprobs = random.Below(3);
    return request;
  }
  request.answer.num_top_logprobs = random.OneIn(4) ? random.Below(3) : -1;
  request.stopping.max_tokens = random.OneIn(3) ? random.Between(1, 8) : random.Between(1, random.OneIn(4) ? 400 : 90);
  if (random.OneIn(4)) request.stopping.min_tokens = random.Between(1, request.stopping.max_tokens);
  if (random.OneIn(100)) request.stopping.max_tokens = 0;
  DrawStops(random, request.stopping);
  return request;
}

Duration DrawReading(Random& random) {
  if (random.OneIn(20)) return random.Within(seconds(4));
  if (random.OneIn(4)) return random.Within(milliseconds(300));
  return random.Within(milliseconds(5));
}

PlannedRequest DrawPlanned(int number, int max_context_tokens, Random& random) {
  PlannedRequest planned{.number = number, .request = DrawRequest(number, max_context_tokens, random)};
  if (random.OneIn(6)) planned.deadline = random.Within(milliseconds(2500));
  if (random.OneIn(8)) planned.queue_deadline = random.Within(milliseconds(800));
  planned.reading = DrawReading(random);
  planned.max_pending_bytes = static_cast<size_t>(random.OneIn(3)   ? random.Between(0, 600)
                                                  : random.OneIn(3) ? 1 << 20
                                                                    : random.Between(600, 9000));
  return planned;
}

// Answers of many bytes whose readers are slow: streams pass kMaxChunkBytes, and all of them together their bound.
void MakeHeavy(Random& random, Scenario& scenario) {
  scenario.max_backlog_bytes = random.Between(16, 100) << 10;
  scenario.publishing = random.Within(milliseconds(60));  // so that steps are under way when a stream becomes full
  for (PlannedRequest& planned : scenario.requests) {
    planned.request.answer.num_top_logprobs = random.Between(10, 32);
    planned.max_pending_bytes = 1 << 20;
    planned.reading = random.Within(seconds(1));
  }
}

}  // namespace

Scenario DrawScenario(uint64_t seed) {
  Random random(seed);
  Scenario scenario{.seed = seed, .engine = DrawEngine(random)};
  scenario.most_queued = {.requests = random.OneIn(3) ? random.Between(1, 10) : random.Between(10, 100),
                          .tokens = random.OneIn(3) ? random.Between(50, 1000) : random.Between(1000, 20000)};
  scenario.max_backlog_bytes = random.OneIn(2) ? random.Between(1000, 60000) : INT64_MAX;
  scenario.step = {.fixed = milliseconds(1) + random.Within(milliseconds(10)),
                   .per_token = random.Within(milliseconds(1)) / 4,
                   .jitter = random.Within(milliseconds(5))};
  scenario.publishing = random.OneIn(3) ? random.Within(milliseconds(40)) : random.Within(milliseconds(2));
  const int num_requests = random.Between(kLeastRequests, kMostRequests);
  const Duration gap = kTick + random.Within(milliseconds(80));  // twice the mean
  Duration arrival{};
  for (int number = 0; number < num_requests; ++number) {
    PlannedRequest planned = DrawPlanned(number, scenario.engine.scheduler.max_context_tokens, random);
    if (!random.OneIn(4)) arrival += random.Within(gap);  // else together with the one before
    planned.arrival = arrival;
    scenario.requests.push_back(std::move(planned));
  }
  if (random.OneIn(6)) MakeHeavy(random, scenario);
  scenario.span = arrival + milliseconds(500);
  scenario.faults = DrawFaults(num_requests, scenario.span, random);
  return scenario;
}

}  // namespace latentd::simulation
