#include "base/command_line.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace latentd {
namespace {

// A program with one command and a flag of each kind.
struct Program {
  Program() {
    Command root = line.root();
    Command run = root.AddCommand("run", "Runs.");
    run.Add({.name = "--count", .target = &count, .help = "How many", .rule = Whole<uint32_t>()});
    run.Add({.name = "--rate", .target = &rate, .shows_default = true});
    run.Add({.name = "--stop", .target = &stops});
    run.Add({.name = "!--no-color", .target = &color, .excludes = "--rate"});
    run.Add({.name = "ids", .target = &ids, .rule = Whole<uint32_t>(), .delimiter = ','});
    run.OnParsed([this, run] { ran = run.IsGiven("--rate") ? "with a rate" : "without"; });
    line.SetVersion("program 1");
  }

  ParsedLine Parse(std::vector<const char*> arguments) {
    arguments.insert(arguments.begin(), "program");
    return line.Parse(static_cast<int>(arguments.size()), arguments.data());
  }

  std::optional<uint32_t> count;
  double rate = 2.5;
  std::vector<std::string> stops;
  std::vector<uint32_t> ids;
  bool color = true;
  std::string ran;
  CommandLine line{"program", "Shows what lines may hold."};
};

TEST(CommandLine, PutsValuesIntoVariablesAndRunsTheCommand) {
  Program program;
  const ParsedLine parsed = program.Parse({"run", "--stop", "a", "--count", "7", "--stop", "b", "1,2", "3"});
  EXPECT_EQ(parsed.error, "");
  EXPECT_EQ(parsed.exit_code, 0);
  EXPECT_EQ(program.count, 7u);
  EXPECT_EQ(program.stops, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(program.ids, (std::vector<uint32_t>{1, 2, 3}));
  EXPECT_TRUE(program.color);
  EXPECT_EQ(program.ran, "without");
}

TEST(CommandLine, KnowsWhatWasGivenAndClearsFlags) {
  Program rated;
  EXPECT_EQ(rated.Parse({"run", "--rate", "2.5"}).error, "");
  EXPECT_EQ(rated.ran, "with a rate");
  Program plain;
  EXPECT_EQ(plain.Parse({"run", "--no-color"}).error, "");
  EXPECT_FALSE(plain.color);
}

TEST(CommandLine, SaysWhatIsWrongAndRunsNothing) {
  const struct {
    std::vector<const char*> arguments;
    std::string error;
  } cases[] = {
      {{"run", "--count", "4294967296"}, "--count: expected a whole number from 0 to 4294967295, found \"4294967296\""},
      {{"run", "--count", "-1"}, "--count: expected a whole number from 0 to 4294967295, found \"-1\""},
      {{"run", "--no-color", "--rate", "1"}, "--rate excludes --no-color"},
      {{}, "A subcommand is required"},
  };
  for (const auto& [arguments, error] : cases) {
    Program program;
    const ParsedLine parsed = program.Parse(arguments);
    EXPECT_EQ(parsed.error, error);
    EXPECT_NE(parsed.exit_code, 0);
    EXPECT_TRUE(parsed.unexpected.empty());
    EXPECT_EQ(program.ran, "");
  }
}

TEST(CommandLine, NamesTheArgumentsThatNoFlagTakes) {
  Program program;
  EXPECT_EQ(program.Parse({"--odd", "run"}).unexpected, (std::vector<std::string>{"--odd"}));
}

TEST(CommandLine, AnswersHelpAndVersion) {
  Program program;
  EXPECT_EQ(program.Parse({"--version"}).answer, "program 1\n");
  const std::optional<std::string> help = program.Parse({"run", "--help"}).answer;
  ASSERT_TRUE(help);
  EXPECT_NE(help->find("--count UINT                How many"), std::string::npos) << *help;
  EXPECT_NE(help->find("--rate FLOAT=2.5"), std::string::npos) << *help;
}

TEST(CommandLine, RulesHoldTheirBounds) {
  const auto is_right = [](const FlagRule& rule, std::string text) { return rule.judge(text).empty(); };
  EXPECT_TRUE(is_right(SecondsUpToAYear(), "31536000"));
  EXPECT_FALSE(is_right(SecondsUpToAYear(), "31536001"));
  EXPECT_FALSE(is_right(SecondsUpToAYear(), "1s"));
  EXPECT_TRUE(is_right(InRange(0.5, 2.0), "2"));
  EXPECT_FALSE(is_right(InRange(0.5, 2.0), "2.01"));
  EXPECT_FALSE(is_right(AboveZero(), "0"));
  EXPECT_TRUE(is_right(OneOf({"f32", "ue8m0"}), "ue8m0"));
  EXPECT_FALSE(is_right(OneOf({"f32", "ue8m0"}), "1"));
}

}  // namespace
}  // namespace latentd
