#include "tests/simulation/workload.h"

#include <algorithm>
#include <array>
#include <limits>

#include "tests/simulation/fake_model.h"
#include "tests/simulation/prompts.h"
#include "tests/simulation/random.h"

namespace latentd::simulation {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr int kLeastRequests = 60, kMostRequests = 140;

// What happens to one in `one_in`, or never.
bool Happens(int one_in, Random& random) { return one_in > 0 && random.OneIn(one_in); }

// A cache with a few blocks more than the longest request needs, or many times that.
BlockCacheOptions DrawCacheOptions(int max_context_tokens, Random& random) {
  const int for_one = BlocksFor(max_context_tokens - 1) + 1;
  const int num_blocks = random.OneIn(3)   ? for_one + random.Below(2)
                         : random.OneIn(8) ? std::max(2, for_one - random.Between(1, 3))
                                           : for_one + random.Below(40);
  return {.num_blocks = num_blocks,
          .shuffle_seed = random.OneIn(2) ? random.Next() : 0,
          .hash_mask = random.OneIn(4) ? uint64_t{3} : ~uint64_t{0}};
}

TenantRules DrawTenants(Random& random) {
  TenantRules rules;
  for (const std::string name : {"q", "r", "s"}) {
    if (random.OneIn(2)) continue;
    TenantRule& rule = rules.listed[name];
    rule.weight = random.OneIn(2) ? 1.0 : random.Between(1, 8) * 0.5;
    if (random.OneIn(3)) rule.max_priority = random.Between(-2, 4);
    if (random.OneIn(4)) rule.max_queued_requests = random.Between(1, 12);
    if (random.OneIn(4)) rule.max_queued_tokens = random.Between(50, 2000);
  }
  return rules;
}

EngineOptions DrawEngine(Random& random) {
  EngineOptions options;
  const int context = random.OneIn(4) ? random.Between(500, 900) : random.Between(100, 500);
  options.scheduler = {.cache = DrawCacheOptions(context, random),
                       .prefix_cache = random.OneIn(6) ? PrefixCacheMode::kOff : PrefixCacheMode::kOn,
                       .max_step_tokens = random.OneIn(4) ? random.Between(1, 16) : random.Between(16, 256),
                       .max_step_rows = random.Between(1, 16),
                       .max_step_logits = random.Between(1, 24),
                       .chunk_tokens = random.OneIn(2) ? random.Between(1, 90) : 0,
                       .max_drafts = random.OneIn(4) ? 0 : random.Between(1, random.OneIn(3) ? kMaxDrafts : 3),
                       .max_context_tokens = context,
                       .slow_consumer_seconds = random.Between(1, 20) * 0.1,
                       .ageing_seconds = random.OneIn(3) ? 10.0 : random.Between(1, 20) * 0.1,
                       .tenants = DrawTenants(random)};
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

void DrawCache(const Habits& habits, Random& random, CacheRule& cache) {
  cache.salt = habits.salts[static_cast<size_t>(random.Below(static_cast<int>(habits.salts.size())))];
  if (Happens(habits.one_in_shy, random)) {
    cache.reads = random.OneIn(2);
    cache.stores = cache.reads ? false : random.OneIn(2);
  }
  if (Happens(habits.one_in_kept, random)) cache.keep_seconds = random.Between(1, 40) * 0.1;
}

// Often one that is nearly always right, or wrong, so that long runs of each happen.
double DrawAccuracy(Random& random) {
  return random.OneIn(4) ? random.Below(2) : random.Between(random.OneIn(2) ? 60 : 0, 100) * 0.01;
}

DrafterRule DrawDrafter(Random& random) {
  return {.accuracy = DrawAccuracy(random),
          .later_accuracy = DrawAccuracy(random),
          .period = random.OneIn(2) ? random.Between(5, 200) : 0,
          .one_in_nonfinite = random.OneIn(4) ? random.Between(5, 200) : 0};
}

void DrawScheduling(const Habits& habits, Random& random, SchedulingRule& scheduling) {
  const auto num_tenants = static_cast<int>(habits.tenants.size());
  if (num_tenants > 0) scheduling.tenant = habits.tenants[static_cast<size_t>(random.Below(num_tenants))];
  if (!Happens(habits.one_in_ranked, random)) return;
  scheduling.priority = random.OneIn(3) ? random.Between(kLowestPriority, kHighestPriority) : random.Between(-1, 2);
}

Request DrawRequest(const Habits& habits, Prompts& prompts, Random& random) {
  Request request;
  request.prompt = prompts.Draw();
  DrawSampling(random, request);
  DrawCache(habits, random, request.cache);
  DrawScheduling(habits, random, request.scheduling);
  if (Happens(habits.one_in_drafts, random)) request.max_drafts = random.Below(random.OneIn(3) ? kMaxDrafts + 1 : 4);
  request.answer.prints_special_tokens = random.OneIn(4);
  if (random.OneIn(8)) {
    request.kind = RequestKind::kScore;
    request.answer.num_prompt_logprobs = random.Below(3);
    return request;
  }
  if (Happens(habits.one_in_several, random)) request.num_sequences = random.Between(2, random.OneIn(3) ? 8 : 3);
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

PlannedRequest DrawPlanned(int number, const Habits& habits, Prompts& prompts, Random& random) {
  PlannedRequest planned{.number = number, .request = DrawRequest(habits, prompts, random)};
  prompts.Remember(planned.request);
  if (random.OneIn(6)) planned.deadline = random.Within(milliseconds(2500));
  if (random.OneIn(8)) planned.queue_deadline = random.Within(milliseconds(800));
  if (Happens(habits.one_in_hurried, random)) planned.first_token = random.Within(milliseconds(1500));
  planned.reading = DrawReading(random);
  planned.max_pending_bytes = static_cast<size_t>(random.OneIn(3)   ? random.Between(0, 600)
                                                  : random.OneIn(3) ? 1 << 20
                                                                    : random.Between(600, 9000));
  return planned;
}

Habits DrawHabits(Random& random) {
  Habits habits{.salts = {""}};
  for (int left = random.OneIn(2) ? random.Between(1, 4) : 0; left > 0; --left) {
    habits.tenants.push_back(std::string(1, static_cast<char>('p' + left)));
  }
  if (random.OneIn(3)) habits.salts = {"", "one", "two"};
  habits.one_in_ranked = random.OneIn(2) ? random.Between(1, 6) : 0;
  habits.one_in_several = random.OneIn(2) ? random.Between(2, 12) : 0;
  habits.one_in_hurried = random.OneIn(3) ? random.Between(2, 12) : 0;
  habits.one_in_shy = random.OneIn(2) ? random.Between(2, 10) : 0;
  habits.one_in_kept = random.OneIn(3) ? random.Between(2, 10) : 0;
  habits.one_in_drafts = random.OneIn(2) ? random.Between(1, 4) : 0;
  return habits;
}

struct Arrivals {
  Duration gap{};        // twice the mean between two that do not come together
  int one_in_apart = 0;  // does not come together with the one before
  Duration lull{};       // before such a one; then many come together
};

Arrivals DrawArrivals(Random& random) {
  Arrivals arrivals{.gap = kTick + random.Within(milliseconds(80))};
  if (random.OneIn(4)) {
    arrivals.one_in_apart = random.Between(8, 40);
    arrivals.lull = random.Within(seconds(3));
  }
  return arrivals;
}

Duration DrawGap(const Arrivals& arrivals, Random& random) {
  if (arrivals.one_in_apart > 0) return random.OneIn(arrivals.one_in_apart) ? random.Within(arrivals.lull) : Duration{};
  return random.OneIn(4) ? Duration{} : random.Within(arrivals.gap);
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

// Requests of few tenants that all come at once and are alike in all else but their lengths: nothing disturbs the
// shares that the tenants get.
void MakeEven(Random& random, Scenario& scenario) {
  SchedulerOptions& options = scenario.engine.scheduler;
  options.tenants.listed = {{"q", {}}, {"r", {}}, {"s", {}}};
  options.max_step_rows = random.Between(1, 4);
  scenario.most_queued = {.requests = 1000, .tokens = 1'000'000};
  scenario.max_backlog_bytes = INT64_MAX;
  for (PlannedRequest& planned : scenario.requests) {
    planned.arrival = random.Within(milliseconds(20));
    planned.deadline = planned.queue_deadline = planned.first_token = std::nullopt;
    planned.reading = {};
    planned.max_pending_bytes = 1 << 20;
    Request& request = planned.request;
    request.num_sequences = 1;
    const int tenant = random.Below(6);
    request.scheduling = {.tenant = tenant < 3 ? "q" : tenant < 5 ? "r" : "s"};
    const int output = request.kind == RequestKind::kGenerate ? request.stopping.max_tokens : 0;
    // Each token may come with rejected drafts.
    const int64_t service =
        std::ssize(request.prompt) + (kCostOfGenerated + scenario.engine.scheduler.max_drafts) * output;
    scenario.most_service = std::max(scenario.most_service, service);
  }
  scenario.faults.clear();
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
  scenario.drafter = DrawDrafter(random);
  scenario.publishing = random.OneIn(3) ? random.Within(milliseconds(40)) : random.Within(milliseconds(2));
  const int num_requests = random.Between(kLeastRequests, kMostRequests);
  const Habits habits = DrawHabits(random);
  Prompts prompts(scenario.engine.scheduler.max_context_tokens, random);
  const Arrivals arrivals = DrawArrivals(random);
  Duration arrival{};
  for (int number = 0; number < num_requests; ++number) {
    PlannedRequest planned = DrawPlanned(number, habits, prompts, random);
    arrival += DrawGap(arrivals, random);
    planned.arrival = arrival;
    scenario.requests.push_back(std::move(planned));
  }
  if (random.OneIn(6)) MakeHeavy(random, scenario);
  scenario.span = arrival + milliseconds(500);
  scenario.faults = DrawFaults(num_requests, scenario.span, random);
  if (random.OneIn(12)) MakeEven(random, scenario);
  return scenario;
}

}  // namespace latentd::simulation
