// The simulation's own parts: what it draws, what it expects, how it reports and shrinks.
#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <memory>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/engine/text/tokenizer/small_tokenizer.h"
#include "tests/simulation/clock.h"
#include "tests/simulation/fake_model.h"
#include "tests/simulation/prompts.h"
#include "tests/simulation/replay.h"
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
  request.prompt = {'c', 'a', 'b'};
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
  const QuietRun run = RunQuietly(Answering(20), 0, kContext);
  EXPECT_THAT(run.tokens, SizeIs(20));
  EXPECT_EQ(run.reason, FinishReason::kMaxTokens);
  EXPECT_EQ(run.text, TextOfFirst(Answering(20), run.tokens));
}

TEST(QuietRun, EndsAtTheContext) {
  const QuietRun run = RunQuietly(Answering(20), 0, 10);
  EXPECT_THAT(run.tokens, SizeIs(7));
  EXPECT_EQ(run.reason, FinishReason::kContextLimit);
}

TEST(QuietRun, EachSequenceDrawsItsOwn) {
  EXPECT_NE(RunQuietly(Answering(20), 0, kContext).tokens, RunQuietly(Answering(20), 1, kContext).tokens);
}

TEST(QuietRun, PrefixesTellWhatCameBefore) {
  Request request = Answering(20);
  const QuietRun run = RunQuietly(request, 0, kContext);
  EXPECT_THAT(run.prefixes, SizeIs(3 + 20));
  request.prompt[0] = 'd';
  EXPECT_NE(RunQuietly(request, 0, kContext).prefixes[2], run.prefixes[2]);
}

TEST(QuietRun, StopStringCutsTheTextAndNotTheEngine) {
  Request request = Answering(20);
  const std::string text = RunQuietly(request, 0, kContext).text;
  request.stopping.stop_strings = {text.substr(6, 3)};
  const QuietRun run = RunQuietly(request, 0, kContext);
  EXPECT_EQ(run.reason, FinishReason::kStopString);
  EXPECT_EQ(run.text, text.substr(0, text.find(text.substr(6, 3))));
  EXPECT_LT(run.tokens.size(), 20u);
  EXPECT_EQ(run.engine_reason, FinishReason::kMaxTokens);
  EXPECT_THAT(run.generated, SizeIs(20));
}

TEST(QuietRun, NothingStopsBeforeMinTokens) {
  Request request = Answering(20);
  request.stopping.stop_strings = {"a", "b", "c", "d", "e", "h", "l", "o", " "};
  EXPECT_THAT(RunQuietly(request, 0, kContext).tokens, SizeIs(1));
  request.stopping.min_tokens = 5;
  EXPECT_THAT(RunQuietly(request, 0, kContext).tokens, SizeIs(6));
}

size_t CommonPrefix(const std::vector<int32_t>& a, const std::vector<int32_t>& b) {
  const auto [end, other] = std::mismatch(a.begin(), a.end(), b.begin(), b.end());
  return static_cast<size_t>(end - a.begin());
}

TEST(Prompts, ShareWhatRealOnesShare) {
  int num_equal = 0, num_of_blocks = 0, num_turns = 0;
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    Random random(seed);
    Prompts prompts(kContext, random);
    std::vector<Request> earlier;
    for (int i = 0; i < 20; ++i) {
      Request request = Answering(20);
      request.prompt = prompts.Draw();
      for (const Request& before : earlier) {
        const size_t common = CommonPrefix(before.prompt, request.prompt);
        num_equal += before.prompt == request.prompt ? 1 : 0;
        num_of_blocks += common >= 64 && common < before.prompt.size() ? 1 : 0;
        std::vector<int32_t> turn = before.prompt;
        const auto answer = RunQuietly(before, 0, kContext).generated;
        turn.insert(turn.end(), answer.begin(), answer.end());
        num_turns += CommonPrefix(turn, request.prompt) == turn.size() ? 1 : 0;
      }
      prompts.Remember(request);
      earlier.push_back(std::move(request));
    }
  }
  EXPECT_GT(num_equal, 10);
  EXPECT_GT(num_of_blocks, 10);
  EXPECT_GT(num_turns, 10);
}

// What a recorder tells of two requests that share 70 tokens, of which one is cancelled.
FlightDump TwoSharingRequests() {
  const auto entry = [](int milli, FlightDecision decision, uint64_t request, std::array<int32_t, 4> numbers) {
    return FlightEntry{
        .nanoseconds = (1000 + milli) * 1'000'000LL, .decision = decision, .request = request, .numbers = numbers};
  };
  const auto reason = [](FinishReason which) { return static_cast<int32_t>(which); };
  return {.entries = {
              entry(0, FlightDecision::kSubmit, 7, {90, 50, 0, 1}), entry(0, FlightDecision::kAdmit, 7, {0, 0, 2}),
              entry(8, FlightDecision::kStep, 0, {1, 90, 8000, 0}),
              entry(20, FlightDecision::kSubmit, 9, {100, 60, 2, 2}), entry(20, FlightDecision::kAdmit, 9, {70, 70, 2}),
              entry(25, FlightDecision::kStep, 0, {2, 31, 5000, 1}),
              entry(30, FlightDecision::kFinish, 7, {reason(FinishReason::kEos), 2, 92}),
              entry(40, FlightDecision::kCancel, 9, {reason(FinishReason::kCancelled)}),
              entry(40, FlightDecision::kFinish, 9, {reason(FinishReason::kCancelled), 1, 100})}};
}

TEST(Replay, DrawsWhatTheDumpTells) {
  const Scenario scenario = ScenarioOf(TwoSharingRequests());
  ASSERT_THAT(scenario.requests, SizeIs(2));
  const PlannedRequest &first = scenario.requests[0], &second = scenario.requests[1];
  EXPECT_THAT(first.request.prompt, SizeIs(90));
  EXPECT_EQ(first.request.stopping.max_tokens, 2) << "so many it generated";
  EXPECT_EQ(second.arrival - first.arrival, std::chrono::milliseconds(20));
  EXPECT_EQ(second.request.num_sequences, 2);
  EXPECT_EQ(second.request.scheduling.priority, 2);
  EXPECT_GE(CommonPrefix(first.request.prompt, second.request.prompt), 70u);
  ASSERT_THAT(scenario.faults, SizeIs(1));
  EXPECT_EQ(scenario.faults[0].kind, FaultKind::kCancel);
  EXPECT_EQ(scenario.faults[0].request, second.number);
  EXPECT_EQ(scenario.step.recorded[1], std::chrono::milliseconds(5));
}

TEST(Replay, RunsAsItWasRecorded) {
  const Scenario scenario = ScenarioOf(TwoSharingRequests());
  World world(scenario, SimulationTokenizer());
  world.Run();
  EXPECT_EQ(world.lives().all()[0].sequences[0].tokens.size(), 2u);
  EXPECT_EQ(world.coverage().of(Counted::kCancel), 1u);
  EXPECT_GE(world.coverage().of(Counted::kHitTokens), 70u);
  EXPECT_GT(world.Decisions().size(), 5u);
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
    ASSERT_EQ(other->sequences.size(), life.sequences.size());
    for (size_t i = 0; i < life.sequences.size(); ++i) {
      EXPECT_EQ(other->sequences[i].tokens, life.sequences[i].tokens);
      EXPECT_EQ(other->sequences[i].first_scheduled, life.sequences[i].first_scheduled);
      EXPECT_EQ(other->sequences[i].last_token, life.sequences[i].last_token);
      EXPECT_EQ(other->sequences[i].num_chunks, life.sequences[i].num_chunks);
    }
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
