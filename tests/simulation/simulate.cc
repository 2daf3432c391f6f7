// Runs worlds by their seeds. One that breaks a rule is told with its command line, made smaller and told again, step
// by step. With --expect it is the other way round: a planted bug has to be found.
//
// usage: simulate [--seed=FIRST] [--seeds=COUNT] [--processes=N] [--at-least=REQUESTS] [--expect=RULE]
//                 [--requests=1,2,…] [--faults=1,2,…]      (of one seed: only these)
//        simulate --replay=FILE                            (a dump of the flight recorder, replay.h)
#include <algorithm>
#include <charconv>
#include <iostream>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/mapped_file.h"
#include "engine/schedule/flight_dump.h"
#include "tests/engine/text/tokenizer/small_tokenizer.h"
#include "tests/simulation/replay.h"
#include "tests/simulation/runs.h"
#include "tests/simulation/shrink.h"
#include "tools/latentctl/flight_view.h"

namespace latentd::simulation {
namespace {

constexpr int kMostShrinkingRuns = 400;
constexpr size_t kMostToldLines = 80;

struct Flags {
  SeedRange seeds;
  uint64_t at_least = 0;  // requests that were admitted; everything that is counted must have happened then
  std::string expect;
  std::optional<std::vector<int>> requests, faults;
  std::string replay;
};

// All of the text.
template <class Number>
bool ParseNumber(std::string_view text, Number& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size();
}

bool ParseNumbers(std::string_view list, std::optional<std::vector<int>>& numbers) {
  numbers.emplace();
  while (!list.empty()) {
    const size_t size = std::min(list.size(), list.find(','));
    if (!ParseNumber(list.substr(0, size), numbers->emplace_back())) return false;
    list.remove_prefix(std::min(list.size(), size + 1));
  }
  return true;
}

bool Parse(std::string_view argument, Flags& flags) {
  const size_t equals = argument.find('=');
  if (equals == std::string_view::npos) return false;
  const std::string_view name = argument.substr(0, equals);
  const std::string_view value = argument.substr(equals + 1);
  if (name == "--seed") return ParseNumber(value, flags.seeds.first);
  if (name == "--seeds") return ParseNumber(value, flags.seeds.count);
  if (name == "--processes") return ParseNumber(value, flags.seeds.num_processes);
  if (name == "--at-least") return ParseNumber(value, flags.at_least);
  if (name == "--requests") return ParseNumbers(value, flags.requests);
  if (name == "--faults") return ParseNumbers(value, flags.faults);
  if (name == "--replay") flags.replay = value;
  if (name == "--replay") return true;
  if (name != "--expect") return false;
  flags.expect = value;
  return true;
}

template <class Item>
void Keep(const std::optional<std::vector<int>>& numbers, std::vector<Item>& items) {
  if (!numbers) return;
  std::erase_if(items, [&](const Item& item) {
    return std::find(numbers->begin(), numbers->end(), item.number) == numbers->end();
  });
}

template <class Item>
std::string ListOf(const std::vector<Item>& items) {
  std::string list;
  for (const Item& item : items) list += (list.empty() ? "" : ",") + std::to_string(item.number);
  return list;
}

std::string_view LastLines(std::string_view text) {
  size_t first = text.size();
  for (size_t lines = 0; first > 0 && lines <= kMostToldLines; --first) lines += text[first - 1] == '\n' ? 1 : 0;
  return text.substr(first);
}

// The same rule broken with less; told on standard output.
void TellSmaller(uint64_t seed, const Broken& broken, const Tokenizer& tokenizer) {
  const auto fails = [&](const Scenario& scenario) {
    const std::optional<Broken> again = RunScenario(scenario, tokenizer);
    return again && again->rule == broken.rule;
  };
  const Scenario whole = DrawScenario(seed);
  const Scenario smaller = Shrink(whole, fails, kMostShrinkingRuns);
  std::cout << "the same with " << smaller.requests.size() << " of " << whole.requests.size() << " requests and "
            << smaller.faults.size() << " of " << whole.faults.size() << " faults:\n  simulate --seed=" << seed
            << " --requests=" << ListOf(smaller.requests) << " --faults=" << ListOf(smaller.faults) << "\n";
  if (const std::optional<Broken> told = RunScenario(smaller, tokenizer, Telling::kAll)) {
    std::cout << LastLines(told->output) << std::endl;
  }
}

// Here, and not in a child: it tells all on standard error, and a broken rule ends it.
int RunOne(const Flags& flags, const Tokenizer& tokenizer) {
  Scenario scenario = DrawScenario(flags.seeds.first);
  Keep(flags.requests, scenario.requests);
  Keep(flags.faults, scenario.faults);
  World(scenario, tokenizer, Telling::kAll).Run();
  std::cout << "every rule holds\n";
  return 0;
}

bool IsCovered(const Flags& flags, const Coverage& coverage) {
  if (flags.at_least == 0) return true;
  for (size_t i = 0; i < kNumCounted; ++i) {
    const auto counted = static_cast<Counted>(i);
    const uint64_t least = LeastOf(counted) * coverage.of(Counted::kWorlds) / 1000;
    if (coverage.of(counted) >= least) continue;
    std::cout << coverage.of(counted) << " " << NameOf(counted) << ", wanted " << least << "\n";
    return false;
  }
  if (coverage.of(Counted::kAdmitted) >= flags.at_least) return true;
  std::cout << coverage.of(Counted::kAdmitted) << " requests admitted, wanted " << flags.at_least << "\n";
  return false;
}

int RunAll(const Flags& flags, const Tokenizer& tokenizer) {
  const SeedsRun run = RunSeeds(flags.seeds, tokenizer);
  std::cout << run.coverage.ToString() << std::endl;
  if (!run.broken_seed) return flags.expect.empty() && IsCovered(flags, run.coverage) ? 0 : 1;
  std::cout << "seed " << *run.broken_seed << ":\n"
            << run.broken.output << "  simulate --seed=" << *run.broken_seed << std::endl;
  if (run.broken.rule == flags.expect) return 0;
  if (!flags.expect.empty()) std::cout << "expected a violation of " << flags.expect << "\n";
  TellSmaller(*run.broken_seed, run.broken, tokenizer);
  return 1;
}

// What the dump says, and what the same requests meet here.
int RunReplay(const Flags& flags, const Tokenizer& tokenizer) {
  const auto file = MappedFile::Open(flags.replay);
  const auto dump = file.ok() ? ReadFlightDump(file->text()) : absl::StatusOr<FlightDump>(file.status());
  if (!dump.ok()) {
    std::cerr << flags.replay << ": " << dump.status().message() << "\n";
    return 2;
  }
  for (const std::string& line : FlightHead(*dump)) std::cout << line << "\n";
  for (const std::string& line : FlightSummary(*dump)) std::cout << "recorded: " << line << "\n";
  const Scenario scenario = ScenarioOf(*dump);
  World world(scenario, tokenizer, Telling::kAll);
  world.Run();
  for (const std::string& line : FlightSummary({.entries = world.Decisions()})) {
    std::cout << "replayed: " << line << "\n";
  }
  return 0;
}

int Main(int argc, char** argv) {
  Flags flags;
  for (int i = 1; i < argc; ++i) {
    if (Parse(argv[i], flags)) continue;
    std::cerr << argv[i]
              << ": not one of --seed= --seeds= --processes= --at-least= --expect= --requests= --faults= "
                 "--replay=\n";
    return 2;
  }
  const auto tokenizer = LoadFrom(SmallTokenizer());
  CHECK(tokenizer.ok());
  if (!flags.replay.empty()) return RunReplay(flags, **tokenizer);
  return flags.requests || flags.faults ? RunOne(flags, **tokenizer) : RunAll(flags, **tokenizer);
}

}  // namespace
}  // namespace latentd::simulation

int main(int argc, char** argv) { return latentd::simulation::Main(argc, argv); }
