// The simulation's own parts: what it draws, what it expects, how it reports and shrinks.
#include <algorithm>
#include <csignal>
#include <memory>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/engine/text/tokenizer/small_tokenizer.h"
#include "tests/simulation/clock.h"
#include "tests/simulation/fake_model.h"
#include "tests/simulation/runs.h"
#include "tests/simulation/shrink.h"
#include "tests/simulation/violation.h"
#include "tests/simulation/workload.h"
#include "tests/simulation/world.h"

namespace latentd::simulation {
namespace {

using ::testing::HasSubstr;
using ::testing::SizeIs;

constexpr int kContext = 400;

const Tokenizer& SimulationTokenizer() {
  static const std::unique_ptr<Tokenizer> tokenizer = [] {
    auto loaded = LoadFrom(SmallTokenizer());
    EXPECT_TRUE(loaded.ok()) << loaded.status();
    return std::move(*loaded);
  }();
  return *tokenizer;
}

Request Answering(int max_tokens) {
  Request request;
  request.prompt = {kFirstOfPrompts, 'a', 'b'};
  request.sampling.seed = 7;
  request.stopping.max_tokens = max_tokens;
  request.stopping.ignore_eos = true;
  return request;
}

TEST(EventQueue, TakesByTimeAndMovesTheClock) {
  VirtualClock clock;
  const TimePoint start = clock.Now();
  EventQueue events(1);
  events.Add(start + 3 * kTick, {EventKind::kRead, 3});
  events.Add(start + 1 * kTick, {EventKind::kRead, 1});
  events.Add(start + 2 * kTick, {EventKind::kRead, 2});
  for (int i = 1; i <= 3; ++i) {
    EXPECT_EQ(events.Take(clock).subject, i);
    EXPECT_EQ(clock.Now(), start + i * kTick);
  }
  EXPECT_TRUE(events.empty());
}

TEST(EventQueue, OrderOfOneMomentIsTheSeeds) {
  const auto order = [](uint64_t seed) {
    VirtualClock clock;
    EventQueue events(seed);
    for (int i = 0; i < 20; ++i) events.Add(clock.Now(), {EventKind::kRead, i});
    std::vector<int> subjects;
    while (!events.empty()) subjects.push_back(events.Take(clock).subject);
    return subjects;
  };
  EXPECT_EQ(order(1), order(1));
  EXPECT_NE(order(1), order(2));
}

TEST(FakeModel, TokensAreTheTokenizers) {
  for (const int32_t id : kAlphabet) EXPECT_EQ(TextOf(id), SimulationTokenizer().TokenBytes(id));
  EXPECT_EQ(TextOf(kEndOfText), SimulationTokenizer().TokenBytes(kEndOfText));
  EXPECT_TRUE(SimulationTokenizer().IsSpecial(kEndOfText));
}

TEST(QuietRun, EndsAtMaxTokens) {
  const QuietRun run = RunQuietly(Answering(20), kContext);
  EXPECT_THAT(run.tokens, SizeIs(20));
  EXPECT_EQ(run.reason, FinishReason::kMaxTokens);
  EXPECT_EQ(run.text, TextOfFirst(Answering(20), run.tokens));
}

TEST(QuietRun, EndsAtTheContext) {
  const QuietRun run = RunQuietly(Answering(20), 10);
  EXPECT_THAT(run.tokens, SizeIs(7));
  EXPECT_EQ(run.reason, FinishReason::kContextLimit);
}

TEST(QuietRun, StopStringCutsTheTextAndNotTheEngine) {
  Request request = Answering(20);
  const std::string text = RunQuietly(request, kContext).text;
  request.stopping.stop_strings = {text.substr(6, 3)};
  const QuietRun run = RunQuietly(request, kContext);
  EXPECT_EQ(run.reason, FinishReason::kStopString);
  EXPECT_EQ(run.text, text.substr(0, text.find(text.substr(6, 3))));
  EXPECT_LT(run.tokens.size(), 20u);
  EXPECT_EQ(run.engine_reason, FinishReason::kMaxTokens);
  EXPECT_THAT(run.generated, SizeIs(20));
}

TEST(QuietRun, NothingStopsBeforeMinTokens) {
  Request request = Answering(20);
  request.stopping.stop_strings = {"a", "b", "c", "d", "e", "h", "l", "o", " "};
  EXPECT_THAT(RunQuietly(request, kContext).tokens, SizeIs(1));
  request.stopping.min_tokens = 5;
  EXPECT_THAT(RunQuietly(request, kContext).tokens, SizeIs(6));
}

TEST(World, IsTheSameForTheSameSeed) {
  const Scenario scenario = DrawScenario(3);
  World first(scenario, SimulationTokenizer());
  first.Run();
  World second(scenario, SimulationTokenizer());
  second.Run();
  EXPECT_EQ(first.coverage().ToString(), second.coverage().ToString());
  EXPECT_GT(first.coverage().of(Counted::kTokens), 0u);
}

// Or what makes a failing scenario smaller would lose the failure for reasons of its own.
TEST(World, IsTheSameAroundARequestThatIsRefused) {
  Scenario scenario = DrawScenario(7);
  PlannedRequest& refused = scenario.requests[10];
  refused.request.kind = RequestKind::kGenerate;
  refused.request.stopping.max_tokens = 0;
  const int number = refused.number;
  World with(scenario, SimulationTokenizer());
  with.Run();
  Scenario smaller = scenario;
  smaller.requests.erase(smaller.requests.begin() + 10);
  World without(smaller, SimulationTokenizer());
  without.Run();
  EXPECT_GT(without.coverage().of(Counted::kSteps), 100u);
  EXPECT_EQ(with.coverage().of(Counted::kSteps), without.coverage().of(Counted::kSteps));
  for (const Life& life : with.lives().all()) {
    if (life.number() == number) continue;
    const auto is_same = [&life](const Life& other) { return other.number() == life.number(); };
    const auto other = std::find_if(without.lives().all().begin(), without.lives().all().end(), is_same);
    ASSERT_NE(other, without.lives().all().end());
    EXPECT_EQ(other->stage, life.stage);
    EXPECT_EQ(other->tokens, life.tokens);
    EXPECT_EQ(other->first_scheduled, life.first_scheduled);
    EXPECT_EQ(other->last_token, life.last_token);
    EXPECT_EQ(other->num_chunks, life.num_chunks);
  }
}

// Few, and in this process: the sanitizers run them, too.
TEST(World, KeepsEveryRuleForSomeSeeds) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    const Scenario scenario = DrawScenario(seed);
    World world(scenario, SimulationTokenizer());
    world.Run();
    EXPECT_EQ(world.coverage().of(Counted::kWorlds), 1u);
  }
}

TEST(Runs, TellBrokenRuleAndFailedCheck) {
  const auto broken = RunInChild([] { Violate(Rule::kOrder, "7 before 6"); });
  ASSERT_TRUE(broken.has_value());
  EXPECT_EQ(broken->rule, "order");
  EXPECT_THAT(broken->output, HasSubstr("7 before 6"));
  const auto failed = RunInChild([] { CHECK_EQ(1 + 1, 3); });
  ASSERT_TRUE(failed.has_value());
  EXPECT_EQ(failed->rule, "check");
  EXPECT_FALSE(RunInChild([] {}).has_value());
}

TEST(Runs, TellWorldThatHangs) {
  const auto hanging = RunInChild([] {
    std::raise(SIGALRM);  // as its alarm would
    CHECK(false);
  });
  ASSERT_TRUE(hanging.has_value());
  EXPECT_EQ(hanging->rule, "liveness");
}

TEST(Shrink, KeepsWhatTheFailureNeeds) {
  Scenario scenario = DrawScenario(5);
  scenario.faults.resize(9);
  for (int i = 0; i < 9; ++i) scenario.faults[static_cast<size_t>(i)].number = i;
  const auto has = [](const auto& items, int number) {
    return std::any_of(items.begin(), items.end(), [number](const auto& item) { return item.number == number; });
  };
  const auto fails = [&has](const Scenario& tried) {
    return has(tried.requests, 11) && has(tried.requests, 40) && has(tried.faults, 8);
  };
  const Scenario shrunk = Shrink(scenario, fails, 1000);
  ASSERT_THAT(shrunk.requests, SizeIs(2));
  EXPECT_EQ(shrunk.requests[0].number, 11);
  EXPECT_EQ(shrunk.requests[1].number, 40);
  ASSERT_THAT(shrunk.faults, SizeIs(1));
  EXPECT_EQ(shrunk.faults[0].number, 8);
}

}  // namespace
}  // namespace latentd::simulation
