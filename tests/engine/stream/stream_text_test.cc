// Answers as token ids: what a stream says of them, for each family's markers, and for ids that say nothing sensible.
#include "engine/stream/stream_text.h"

#include <memory>
#include <random>

#include <absl/strings/str_replace.h>
#include <gtest/gtest.h>

#include "tests/engine/text/answer/parsed_answer.h"
#include "tests/engine/text/tokenizer/golden_files.h"
#include "tests/engine/text/tokenizer/small_tokenizer.h"
#include "tests/support/or_die.h"
#include "tests/support/shared_goldens.h"
#include "tests/support/temporary_directory.h"

namespace latentd {
namespace {

using Ids = std::vector<int32_t>;

const Tokenizer& DeepSeek() {
  static const std::unique_ptr<Tokenizer> tokenizer = OrDie(LoadFrom(SmallTokenizerWith(DeepSeekMarkers())));
  return *tokenizer;
}

const Tokenizer& Kimi() {
  static const std::unique_ptr<Tokenizer> tokenizer = OrDie(LoadFrom(SmallTokenizerWith(KimiMarkers())));
  return *tokenizer;
}

Ids Encode(const Tokenizer& tokenizer, std::string_view text, SpecialTokens special = SpecialTokens::kRecognize) {
  return OrDie(tokenizer.Encode(text, special));
}

// The same text with one token for each byte, so that every character is cut wherever it can be.
Ids ByteByByte(const Tokenizer& tokenizer, const Ids& ids) {
  Ids bytes;
  for (const int32_t id : ids) {
    if (id >= kSmallControl) {
      bytes.push_back(id);
      continue;
    }
    for (const char byte : tokenizer.TokenBytes(id)) bytes.push_back(static_cast<uint8_t>(byte));
  }
  return bytes;
}

Request ChatRequest(ChatAnswer answer = {}, StoppingRule stopping = {}) {
  Request request;
  request.answer.chat = answer;
  request.stopping = std::move(stopping);
  return request;
}

struct Stream {
  AnswerParts whole;
  int reasoning_tokens = 0;
  std::string stop;
};

Stream Read(const Tokenizer& tokenizer, const Ids& ids, const Request& request) {
  StreamText text(&tokenizer, FindAnswerFormat(tokenizer), request.stopping, request.answer);
  Stream stream;
  for (const int32_t id : ids) Collect(text.Append(id), stream.whole);
  Collect(text.Finish(), stream.whole);
  stream.reasoning_tokens = text.reasoning_tokens();
  if (text.stopped()) stream.stop = text.stop_string();
  return stream;
}

std::string SaidOf(const Tokenizer& tokenizer, std::string_view answer, const Request& request = ChatRequest()) {
  const Ids ids = Encode(tokenizer, answer);
  const std::string said = Said(Read(tokenizer, ids, request).whole);
  EXPECT_EQ(Said(Read(tokenizer, ByteByByte(tokenizer, ids), request).whole), said);
  return said;
}

constexpr std::string_view kDeepSeekAnswer =
    "<think>Où, hello?</think>Ich prüfe "
    "🦊.<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>wetter\n```json\n"
    "{\"ort\": \"Köln "
    "🦊\"}\n```<｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>function<｜tool▁sep｜>now\n```json\n{}\n```"
    "<｜tool▁call▁end｜><｜tool▁calls▁end｜>";

TEST(StreamText, SplitsAnAnswerByTheMarkersOfV3AndR1) {
  EXPECT_EQ(SaidOf(DeepSeek(), kDeepSeekAnswer),
            "(Où, hello?)Ich prüfe 🦊.|call_0=wetter:{\"ort\": \"Köln 🦊\"}||call_1=now:{}|");
}

TEST(StreamText, SplitsAnAnswerByTheMarkersOfV31) {
  EXPECT_EQ(SaidOf(DeepSeek(),
                   "Où?</think>Ja.<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>wetter<｜tool▁sep｜>{\"ort\": \"Köln\"}"
                   "<｜tool▁call▁end｜><｜tool▁call▁begin｜>now<｜tool▁sep｜>{}<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
                   ChatRequest({.starts_in_reasoning = true, .calls_before = 3})),
            "(Où?)Ja.|call_3=wetter:{\"ort\": \"Köln\"}||call_4=now:{}|");
}

TEST(StreamText, SplitsAnAnswerByTheMarkersOfKimi) {
  EXPECT_EQ(SaidOf(Kimi(),
                   "<think>Où?</think>Ja.<|tool_calls_section_begin|><|tool_call_begin|>functions.wetter:0"
                   "<|tool_call_argument_begin|>{\"ort\": \"Köln\"}<|tool_call_end|><|tool_call_begin|>functions.now:1"
                   "<|tool_call_argument_begin|>{}<|tool_call_end|><|tool_calls_section_end|>"),
            "(Où?)Ja.|functions.wetter:0=wetter:{\"ort\": \"Köln\"}||functions.now:1=now:{}|");
}

TEST(StreamText, MarkersTypedLetterByLetterAreText) {
  const std::string text(kDeepSeekAnswer);
  const Ids ids = Encode(DeepSeek(), text, SpecialTokens::kAsText);
  EXPECT_EQ(Said(Read(DeepSeek(), ids, ChatRequest()).whole), text);
  EXPECT_EQ(Said(Read(DeepSeek(), ids, ChatRequest({.starts_in_reasoning = true})).whole), "(" + text + ")");
}

TEST(StreamText, OtherRequestsGetTheAnswerAsItIs) {
  EXPECT_EQ(SaidOf(DeepSeek(), kDeepSeekAnswer, Request{}), kDeepSeekAnswer);
}

TEST(StreamText, WithoutMarkersInTheVocabularyAChatIsTextAsAnyOther) {
  const std::unique_ptr<Tokenizer> tokenizer = OrDie(LoadFrom(SmallTokenizer()));
  std::mt19937 random(7);
  for (int round = 0; round < 200; ++round) {
    Ids ids;
    for (int i = 0; i < 30; ++i) ids.push_back(static_cast<int32_t>(random() % 310));
    EXPECT_EQ(Said(Read(*tokenizer, ids, ChatRequest()).whole), tokenizer->Decode(ids, SpecialText::kSkip));
  }
}

TEST(StreamText, NoCharacterReachesOverAMarker) {
  const int32_t end_of_reasoning = *DeepSeek().IdOf("</think>");
  const Ids ids = {0xE2, 0x82, end_of_reasoning, 0xAC};
  EXPECT_EQ(Said(Read(DeepSeek(), ids, ChatRequest({.starts_in_reasoning = true})).whole), "(\uFFFD)\uFFFD");
}

TEST(StreamText, OtherSpecialTokensHaveNoText) {
  EXPECT_EQ(SaidOf(DeepSeek(), "<think>a<|end|>b</think>c<|end|>d"), "(ab)cd");
}

TEST(StreamText, WithoutATokenizerThereIsNothing) {
  const Request request = ChatRequest({.starts_in_reasoning = true});
  StreamText text(nullptr, {}, request.stopping, request.answer);
  EXPECT_EQ(Said(text.Append(5)), "");
  EXPECT_EQ(Said(text.Finish()), "");
  EXPECT_EQ(text.reasoning_tokens(), 0);
}

// --------------------------------------------------------------------------------------------------- reasoning tokens

int ReasoningTokens(std::string_view answer, ChatAnswer start = {}) {
  const Ids ids = ByteByByte(DeepSeek(), Encode(DeepSeek(), answer));
  return Read(DeepSeek(), ids, ChatRequest(start)).reasoning_tokens;
}

TEST(StreamText, CountsReasoningTokensWithoutMarkers) {
  EXPECT_EQ(ReasoningTokens("abc"), 0);
  EXPECT_EQ(ReasoningTokens("<think>abc</think>de"), 3);
  EXPECT_EQ(ReasoningTokens("abc</think>de", {.starts_in_reasoning = true}), 3);
  EXPECT_EQ(ReasoningTokens("<think>abc", {.starts_in_reasoning = true}), 3);
  EXPECT_EQ(ReasoningTokens("<think>a<｜tool▁sep｜>c<|end|>"), 4)
      << "what is no marker there counts, without text, too";
  EXPECT_EQ(ReasoningTokens("<think>ab<｜tool▁calls▁begin｜>c"), 2);
  EXPECT_EQ(ReasoningTokens("<think>ab</think>c<think>d</think>"), 3);
}

// ------------------------------------------------------------------------------------------------ stop strings, tokens

Stream ReadUntil(std::vector<std::string> stops, std::string_view answer) {
  return Read(DeepSeek(), Encode(DeepSeek(), answer), ChatRequest({}, {.stop_strings = std::move(stops)}));
}

TEST(StreamText, StopStringsAreFoundInContentOnly) {
  const Stream stream = ReadUntil(
      {"STOP"},
      "<think>STOP</think><｜tool▁call▁begin｜>f<｜tool▁sep｜>{\"a\":\"STOP\"}<｜tool▁call▁end｜> a STOP b<think>c");
  EXPECT_EQ(Said(stream.whole), "(STOP) a |call_0=f:{\"a\":\"STOP\"}|");
  EXPECT_EQ(stream.stop, "STOP");
}

TEST(StreamText, ContentAroundReasoningIsOneText) {
  EXPECT_EQ(Said(ReadUntil({"STOP"}, "a ST<think>b</think>OP c").whole), "(b)a ");
  EXPECT_EQ(Said(ReadUntil({"STOP"}, "a ST<think>b").whole), "(b)a ST") << "held back, not lost";
}

TEST(StreamText, StopStringInAMalformedCallIsFound) {
  EXPECT_EQ(Said(ReadUntil({"STOP"}, "a<｜tool▁call▁begin｜>no STOP<｜tool▁call▁end｜> b").whole),
            "a<｜tool▁call▁begin｜>no ");
}

// As vLLM counts: the first min_tokens tokens end nothing, a later one may end what began in them.
TEST(StreamText, StopStringsAreLookedForAfterMinTokens) {
  const auto read = [](int min_tokens, std::string_view answer) {
    const Request request = ChatRequest({}, {.min_tokens = min_tokens, .stop_strings = {"STOP"}});
    return Read(DeepSeek(), ByteByByte(DeepSeek(), Encode(DeepSeek(), answer)), request);
  };
  EXPECT_EQ(Said(read(0, "a STOP b").whole), "a ");
  EXPECT_EQ(Said(read(5, "a STOP b").whole), "a ") << "its last letter is the sixth token";
  EXPECT_EQ(Said(read(6, "a STOP b").whole), "a STOP b");
  EXPECT_EQ(read(6, "a STOP b").stop, "");
  EXPECT_EQ(Said(read(6, "a STOP b STOP c").whole), "a STOP b ");
  EXPECT_EQ(Said(read(100, "a STOP").whole), "a STOP");
}

TEST(StreamText, TokensOfReasoningCountForMinTokens) {
  const Request request = ChatRequest({}, {.min_tokens = 4, .stop_strings = {"b"}});
  EXPECT_EQ(SaidOf(DeepSeek(), "<think>a</think>b c b", request), "(a)b c ");
}

TEST(StreamText, SpecialTokensAreTextWhereTheyAreAskedFor) {
  Request request = ChatRequest();
  request.answer.prints_special_tokens = true;
  EXPECT_EQ(SaidOf(DeepSeek(), "a<|end|>b<think>c<|end|></think>d", request), "(c<|end|>)a<|end|>bd");
  request.stopping.stop_strings = {"<|end|>b"};
  EXPECT_EQ(SaidOf(DeepSeek(), "a<|end|>b", request), "a");
}

TEST(StreamText, WithoutCallsWhatLooksLikeOneIsText) {
  const std::string_view answer = "<think>a</think>b<｜tool▁call▁begin｜>f<｜tool▁sep｜>{}<｜tool▁call▁end｜>c";
  EXPECT_EQ(SaidOf(DeepSeek(), answer, ChatRequest({.has_calls = false})),
            "(a)b<｜tool▁call▁begin｜>f<｜tool▁sep｜>{}<｜tool▁call▁end｜>c");
}

TEST(StreamText, StopTokenThatIsKeptPrintsSpecialTokensWhereTheyStand) {
  const Request request = ChatRequest({.starts_in_reasoning = true});
  StreamText text(&DeepSeek(), FindAnswerFormat(DeepSeek()), request.stopping, request.answer);
  AnswerParts whole;
  Collect(text.Append('a'), whole);
  Collect(text.AppendStopToken(kSmallControl), whole);
  Collect(text.Finish(), whole);
  EXPECT_EQ(Said(whole), "(a<|end|>)");
  EXPECT_EQ(text.reasoning_tokens(), 2);
}

TEST(StreamText, MarkerAsStopTokenIsAMarker) {
  const Request request = ChatRequest();
  StreamText text(&DeepSeek(), FindAnswerFormat(DeepSeek()), request.stopping, request.answer);
  AnswerParts whole;
  for (const int32_t id : Encode(DeepSeek(), "<｜tool▁call▁begin｜>f<｜tool▁sep｜>{} "))
    Collect(text.Append(id), whole);
  Collect(text.AppendStopToken(*DeepSeek().IdOf("<｜tool▁call▁end｜>")), whole);
  Collect(text.Finish(), whole);
  EXPECT_EQ(Said(whole), "|call_0=f:{}|");
}

// ------------------------------------------------------------------------------------------------------- ids at random

// The law: what is said, in its order, is the text of all ids but for the markup of calls and reasoning, which is
// markers, white space, fences (backticks and "json") and the word "function". Without all those, both sides are the
// same bytes. (Taking words out one after the other leads to one end only, since no end of one begins the other.)
std::string WithoutMarkup(std::string text, const std::vector<std::string>& markers) {
  for (const std::string& marker : markers) text = absl::StrReplaceAll(text, {{marker, ""}});
  std::erase_if(text, [](char c) { return std::string_view(" \t\r\n`").find(c) != std::string_view::npos; });
  for (bool changed = true; changed;) {
    changed = absl::StrReplaceAll({{"function", ""}, {"json", ""}}, &text) > 0;
  }
  return text;
}

// As they come, in one text: for one family the id says what the header said, for the other the name does.
std::string InOrder(const AnswerParts& parts, bool has_own_ids) {
  std::string text = parts.reasoning + parts.content;
  for (const ToolCallFragment& call : parts.tool_calls) text += (has_own_ids ? call.id : call.name) + call.arguments;
  EXPECT_LE(!parts.reasoning.empty() + !parts.content.empty() + !parts.tool_calls.empty(), 1) << "order is lost";
  return text;
}

// Each stretch between markers decoded for itself.
std::string TextOf(const Tokenizer& tokenizer, const AnswerFormat& format, const Ids& ids) {
  std::string text;
  Ids stretch;
  for (const int32_t id : ids) {
    if (MarkerOf(format, id) == AnswerMarker::kNone) {
      stretch.push_back(id);
      continue;
    }
    text += tokenizer.Decode(stretch, SpecialText::kSkip) + std::string(tokenizer.TokenBytes(id));
    stretch.clear();
  }
  return text + tokenizer.Decode(stretch, SpecialText::kSkip);
}

void ExpectNothingLost(const Tokenizer& tokenizer, const std::vector<std::string>& markers, const Ids& ids,
                       ChatAnswer start) {
  const AnswerFormat format = FindAnswerFormat(tokenizer);
  const bool has_own_ids = format.tool_calls->syntax == ToolCallSyntax::kKimi;
  const Request request = ChatRequest(start);
  StreamText text(&tokenizer, format, request.stopping, request.answer);
  std::string said;
  AnswerParts whole;
  const auto add = [&](AnswerParts parts) {
    said += InOrder(parts, has_own_ids);
    Collect(std::move(parts), whole);
  };
  for (const int32_t id : ids) add(text.Append(id));
  add(text.Finish());
  EXPECT_EQ(WithoutMarkup(said, markers), WithoutMarkup(TextOf(tokenizer, format, ids), markers));
}

// Words that make calls likely, so that every state is reached, and bytes that make no sense.
Ids RandomAnswer(const Tokenizer& tokenizer, const std::vector<std::string>& markers, std::mt19937& random) {
  static const std::vector<std::string> kWords = {
      "function", "functions.f:0", "f",  " ",    "\n", "```json", "```", "`",        "{", "}", "{\"a\":1}", "\"",
      "é",        "hello",         "\\", "STOP", "0",  ":",       "",    "two words"};
  Ids ids;
  const size_t size = random() % 40;
  while (ids.size() < size) {
    const auto choice = random() % 20;
    if (choice < 9) {
      ids.push_back(*tokenizer.IdOf(markers[random() % markers.size()]));
    } else if (choice < 18) {
      const Ids word = Encode(tokenizer, kWords[random() % kWords.size()]);
      ids.insert(ids.end(), word.begin(), word.end());
    } else {
      ids.push_back(static_cast<int32_t>(random() % 320) - 5);
    }
  }
  return ids;
}

TEST(StreamText, RandomIdsLoseNoText) {
  constexpr uint32_t kSeed = 20260;
  std::mt19937 random(kSeed);
  for (int round = 0; round < 10000 && !testing::Test::HasFailure(); ++round) {
    SCOPED_TRACE(absl::StrFormat("seed %d round %d", kSeed, round));
    const bool is_kimi = random() % 2 == 0;
    const Tokenizer& tokenizer = is_kimi ? Kimi() : DeepSeek();
    const std::vector<std::string> markers = is_kimi ? KimiMarkers() : DeepSeekMarkers();
    const ChatAnswer start{.starts_in_reasoning = random() % 2 == 0, .calls_before = static_cast<int>(random() % 3)};
    ExpectNothingLost(tokenizer, markers, RandomAnswer(tokenizer, markers, random), start);
  }
}

// ------------------------------------------------------------------------------------------------------- DeepSeek's
// own

// DeepSeek-V3's tokenizer, with the two place holders renamed as R1 and V3.1 do. Loaded once.
const Tokenizer* LoadR1() {
  const std::filesystem::path packed = SharedGoldens("tokenizers/deepseek_v3");
  if (!AreThere(packed)) return nullptr;
  static std::unique_ptr<Tokenizer> loaded;
  if (loaded != nullptr) return loaded.get();
  const std::string tokenizer =
      absl::StrReplaceAll(ReadMaybeCompressed(packed / "tokenizer.json.xz"),
                          {{"<｜place▁holder▁no▁798｜>", "<think>"}, {"<｜place▁holder▁no▁799｜>", "</think>"}});
  loaded = OrDie(LoadFrom(tokenizer, ReadMaybeCompressed(packed / "tokenizer_config.json")));
  return loaded.get();
}

TEST(StreamText, DeepSeeksOwnIds) {
  const Tokenizer* const tokenizer = LoadR1();
  if (tokenizer == nullptr) GTEST_SKIP();
  const AnswerFormat format = FindAnswerFormat(*tokenizer);
  ASSERT_TRUE(format.reasoning && format.tool_calls);
  EXPECT_EQ(format.reasoning->begin, 128798);
  EXPECT_EQ(format.reasoning->end, 128799);
  EXPECT_EQ(format.tool_calls->section_begin, 128806);
  EXPECT_EQ(format.tool_calls->section_end, 128807);
  EXPECT_EQ(format.tool_calls->call_begin, 128808);
  EXPECT_EQ(format.tool_calls->call_end, 128809);
  EXPECT_EQ(format.tool_calls->separator, 128814);
  for (const auto& [prompt, start] : {std::pair("<｜User｜>Hi<｜Assistant｜>", AnswerStart::kContent),
                                      std::pair("<｜User｜>Hi<｜Assistant｜><think>\n", AnswerStart::kReasoning),
                                      std::pair("<｜User｜>Hi<｜Assistant｜><think>", AnswerStart::kReasoning),
                                      std::pair("<｜User｜>Hi<｜Assistant｜></think>", AnswerStart::kContent)}) {
    EXPECT_EQ(AnswerStartOf(format, *tokenizer, Encode(*tokenizer, prompt)), start) << prompt;
  }
  const Ids ids = Encode(*tokenizer, kDeepSeekAnswer);
  EXPECT_EQ(Said(Read(*tokenizer, ids, ChatRequest()).whole),
            "(Où, hello?)Ich prüfe 🦊.|call_0=wetter:{\"ort\": \"Köln 🦊\"}||call_1=now:{}|");
}

TEST(StreamText, RandomIdsOfDeepSeeksOwnLoseNoText) {
  const Tokenizer* const tokenizer = LoadR1();
  if (tokenizer == nullptr) GTEST_SKIP();
  constexpr uint32_t kSeed = 3;
  std::mt19937 random(kSeed);
  const std::vector<std::string> markers = DeepSeekMarkers();
  for (int round = 0; round < 2000 && !testing::Test::HasFailure(); ++round) {
    SCOPED_TRACE(absl::StrFormat("seed %d round %d", kSeed, round));
    Ids ids;
    for (auto i = random() % 60; i > 0; --i) {
      const bool is_marker = random() % 4 == 0;
      ids.push_back(is_marker ? *tokenizer->IdOf(markers[random() % markers.size()])
                              : static_cast<int32_t>(random() % 129300));
    }
    ExpectNothingLost(*tokenizer, markers, ids, {.starts_in_reasoning = random() % 2 == 0});
  }
}

}  // namespace
}  // namespace latentd
