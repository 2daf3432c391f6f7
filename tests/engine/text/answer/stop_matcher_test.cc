#include "engine/text/answer/stop_matcher.h"

#include <random>

#include <gtest/gtest.h>

namespace latentd {
namespace {

using Strings = std::vector<std::string>;

struct Found {
  std::string text;
  std::optional<size_t> stop;
  bool operator==(const Found&) const = default;
};

// Tries every end of the text in order and every stop string there: the rule of the header, word for word.
Found BruteForce(const Strings& stops, const std::string& text, StopText stop_text) {
  for (size_t end = 1; end <= text.size(); ++end) {
    std::optional<size_t> best;
    for (size_t i = 0; i < stops.size(); ++i) {
      const bool ends_here = !stops[i].empty() && std::string_view(text).substr(0, end).ends_with(stops[i]);
      if (ends_here && (!best || stops[i].size() > stops[*best].size())) best = i;
    }
    if (best) return {text.substr(0, stop_text == StopText::kInclude ? end : end - stops[*best].size()), best};
  }
  return {text, std::nullopt};
}

// Whether `text` must be held back: it begins a stop string without being one.
bool BeginsAStop(const Strings& stops, std::string_view text) {
  return std::any_of(stops.begin(), stops.end(),
                     [&](const std::string& stop) { return stop.size() > text.size() && stop.starts_with(text); });
}

TEST(StopMatcher, TextThatMayBeAStopIsHeldBackUntilItIsNot) {
  StopMatcher matcher(Strings{"\n\nUser:"}, StopText::kExclude);
  EXPECT_EQ(matcher.Append("Hello\n").text, "Hello");
  EXPECT_EQ(matcher.Append("\nUs").text, "");
  EXPECT_EQ(matcher.Append("ual").text, "\n\nUsual");
  EXPECT_EQ(matcher.Append("\n\nUser").text, "");
  EXPECT_EQ(matcher.Flush(), "\n\nUser");
}

TEST(StopMatcher, TheStopEndsTheText) {
  const Strings stops = {"END", "stop"};
  StopMatcher excluding(stops, StopText::kExclude), including(stops, StopText::kInclude);
  EXPECT_EQ(excluding.Append("a st").text, "a ");
  EXPECT_EQ(including.Append("a st").text, "a ");
  const auto excluded = excluding.Append("op and more"), included = including.Append("op and more");
  EXPECT_EQ(excluded.text, "");
  EXPECT_EQ(included.text, "stop");
  EXPECT_EQ(excluded.stop, 1u);
  EXPECT_EQ(included.stop, 1u);
  EXPECT_EQ(excluding.Append("END").text, "");
  EXPECT_EQ(excluding.Flush(), "");
}

TEST(StopMatcher, TheStopThatIsCompleteFirstWins) {
  StopMatcher matcher(Strings{"abcd", "bc"}, StopText::kExclude);
  const auto output = matcher.Append("abcd");
  EXPECT_EQ(output.text, "a");
  EXPECT_EQ(output.stop, 1u);
  StopMatcher same_end(Strings{"c", "bc", "abc", "abc"}, StopText::kExclude);
  EXPECT_EQ(same_end.Append("xabc").stop, 2u);
}

TEST(StopMatcher, ACopyGoesOnByItself) {
  StopMatcher matcher(Strings{"abc", "bd"}, StopText::kExclude);
  EXPECT_EQ(matcher.Append("xab").text, "x");
  StopMatcher copy = matcher;
  EXPECT_EQ(copy.Append("c").stop, 0u);
  const StopMatcher::Output output = matcher.Append("d");
  EXPECT_EQ(output.text, "a");
  EXPECT_EQ(output.stop, 1u);
  EXPECT_EQ(copy.stop(1), "bd");
}

TEST(StopMatcher, NoStopsHoldNothingBack) {
  StopMatcher none({}, StopText::kExclude), empty(Strings{""}, StopText::kExclude);
  EXPECT_EQ(none.Append("text").text, "text");
  EXPECT_EQ(empty.Append("text").text, "text");
  EXPECT_EQ(empty.Append("").stop, std::nullopt);
}

TEST(StopMatcher, AMovedMatcherGoesOn) {
  StopMatcher matcher(Strings{"stop"}, StopText::kExclude);
  EXPECT_EQ(matcher.Append("a st").text, "a ");
  StopMatcher moved(std::move(matcher));
  EXPECT_EQ(moved.Append("ill").text, "still");
}

TEST(StopMatcher, AnyChunksAgreeWithBruteForce) {
  constexpr uint32_t kSeed = 20240608;
  std::mt19937 random(kSeed);
  const auto word = [&](size_t max_length) {
    std::string text;
    for (size_t i = random() % (max_length + 1); i > 0; --i) text += static_cast<char>('a' + random() % 2);
    return text;
  };
  int num_found = 0;
  for (int round = 0; round < 30000; ++round) {
    Strings stops;
    for (size_t i = random() % 4; i > 0; --i) stops.push_back(word(7));
    const std::string text = word(24);
    const StopText stop_text = random() % 2 ? StopText::kInclude : StopText::kExclude;
    StopMatcher matcher(stops, stop_text);
    Found found;
    for (size_t at = 0; at < text.size() && !found.stop;) {
      const size_t length = 1 + random() % 3;
      auto output = matcher.Append(std::string_view(text).substr(at, length));
      found.text += output.text;
      found.stop = output.stop;
      at = std::min(at + length, text.size());
      const std::string held = found.stop ? "" : text.substr(found.text.size(), at - found.text.size());
      ASSERT_TRUE(held.empty() || BeginsAStop(stops, held)) << "seed " << kSeed << " round " << round;
    }
    found.text += matcher.Flush();
    num_found += found.stop.has_value();
    ASSERT_EQ(found, BruteForce(stops, text, stop_text)) << "seed " << kSeed << " round " << round << " " << text;
  }
  EXPECT_GT(num_found, 5000);
}

// A stop string counts where its last byte is beyond the text that is passed over.
TEST(StopMatcher, WhatEndsInTextThatIsPassedOverDoesNotStop) {
  std::mt19937 random(20261130);
  const Strings stops = {"ab", "aab", "bba"};
  int num_found = 0;
  for (int round = 0; round < 5000; ++round) {
    std::string text;
    for (size_t i = 0; i < 12; ++i) text += static_cast<char>('a' + random() % 2);
    const size_t passed = random() % text.size();
    size_t end = std::string::npos;
    for (size_t at = passed + 1; at <= text.size() && end == std::string::npos; ++at) {
      for (const std::string& stop : stops) {
        if (text.substr(0, at).ends_with(stop)) end = at;
      }
    }
    StopMatcher matcher(stops, StopText::kInclude);
    std::string whole = matcher.Pass(text.substr(0, passed));
    const auto output = matcher.Append(text.substr(passed));
    whole += output.text + matcher.Flush();
    EXPECT_EQ(whole, text.substr(0, end)) << text << " " << passed;
    EXPECT_EQ(output.stop.has_value(), end != std::string::npos);
    num_found += output.stop.has_value();
  }
  EXPECT_GT(num_found, 1000);
}

TEST(StopMatcher, HostileTextCostsLinearTime) {
  // A matcher that starts over at each character would need 10^11 steps here.
  StopMatcher matcher(Strings{std::string(100'000, 'a') + "b"}, StopText::kExclude);
  std::string text;
  for (int i = 0; i < 1'000'000; ++i) text += matcher.Append("a").text;
  text += matcher.Flush();
  EXPECT_EQ(text, std::string(1'000'000, 'a'));
}

}  // namespace
}  // namespace latentd
