// The tokens around a whole prompt, by the files of a tokenizer: as transformers 4.57 and 5 do.
#include "engine/text/tokenizer/prompt_frame.h"

#include <fstream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/engine/text/tokenizer/small_tokenizer.h"
#include "tests/support/temporary_directory.h"

namespace latentd {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr int32_t kBos = kSmallControl + 1, kEos = kSmallControl + 2;

json SmallFile() { return SmallTokenizerWith({"<s>", "</s>"}); }

json Special(const char* token) { return {{"SpecialToken", {{"id", token}, {"type_id", 0}}}}; }
const json kText = {{"Sequence", {{"id", "A"}, {"type_id", 0}}}};

json Template(const json& single) {
  return {{"type", "TemplateProcessing"},
          {"single", single},
          {"pair", json::array()},
          {"special_tokens",
           {{"<s>", {{"id", "<s>"}, {"ids", json::array({kBos})}, {"tokens", {"<s>"}}}},
            {"</s>", {{"id", "</s>"}, {"ids", json::array({kEos})}, {"tokens", {"</s>"}}}}}}};
}

json PostProcessor(const std::string& name) {
  if (name == "bytelevel") return {{"type", "ByteLevel"}, {"trim_offsets", false}};
  if (name == "bos") return Template(json::array({Special("<s>"), kText}));
  if (name == "eos") return Template(json::array({kText, Special("</s>")}));
  if (name == "bos_eos") return Template(json::array({Special("<s>"), kText, Special("</s>")}));
  if (name == "seq") {
    return {{"type", "Sequence"}, {"processors", {PostProcessor("bytelevel"), PostProcessor("bos")}}};
  }
  if (name == "bert" || name == "roberta") {
    return {{"type", name == "bert" ? "BertProcessing" : "RobertaProcessing"},
            {"sep", {"</s>", kEos}},
            {"cls", {"<s>", kBos}}};
  }
  return nullptr;
}

// "b-e" of a frame with BOS before and EOS behind.
std::string NameOf(const PromptFrame& frame) {
  std::string name;
  for (const int32_t id : frame.before) name += id == kBos ? 'b' : '?';
  name += '-';
  for (const int32_t id : frame.behind) name += id == kEos ? 'e' : '?';
  return name;
}

struct Files {
  json tokenizer = SmallFile();
  json config = nullptr;  // null: no tokenizer_config.json
  json special_tokens_map = nullptr;
  json added_tokens = nullptr;

  absl::StatusOr<std::unique_ptr<Tokenizer>> Load() const {
    const TemporaryDirectory directory;
    WriteFile(directory.path() / "tokenizer.json", tokenizer.dump());
    const auto write = [&](const char* name, const json& content) {
      if (!content.is_null()) WriteFile(directory.path() / name, content.dump());
    };
    write("tokenizer_config.json", config);
    write("special_tokens_map.json", special_tokens_map);
    write("added_tokens.json", added_tokens);
    return Tokenizer::Load(directory.path());
  }
};

Files FilesOf(const json& recorded) {
  Files files;
  files.tokenizer["post_processor"] = PostProcessor(recorded["post_processor"]);
  if (!recorded["has_config"]) return files;
  files.config = {{"bos_token", "<s>"}, {"eos_token", "</s>"}};
  for (const char* key : {"tokenizer_class", "add_bos_token", "add_eos_token"}) {
    if (!recorded[key].is_null()) files.config[key] = recorded[key];
  }
  return files;
}

// Recorded from both: "v4" is 4.57.6, "v5" 5.24.0, for a model of type deepseek_v3.
TEST(PromptFrame, IsThatOfTransformersAndOfBothWhereTheyAgree) {
  std::ifstream file("tests/data/tokenizer/prompt_frames.jsonl");
  int num_cases = 0, num_agreed = 0;
  for (std::string line; std::getline(file, line);) {
    const json recorded = json::parse(line);
    SCOPED_TRACE(line);
    const auto tokenizer = FilesOf(recorded).Load();
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
    const std::string frame = NameOf((*tokenizer)->frame());
    EXPECT_THAT(frame, ::testing::AnyOf(recorded["v4"].get<std::string>(), recorded["v5"].get<std::string>()));
    ++num_cases;
    num_agreed += recorded["v4"] == recorded["v5"] ? 1 : 0;
  }
  EXPECT_EQ(num_cases, 440);
  EXPECT_GT(num_agreed, 250);
}

TEST(PromptFrame, BosOfThePostProcessorIsAddedWhereTheConfigurationIsSilent) {
  Files files;
  files.tokenizer["post_processor"] = PostProcessor("bos");
  files.config = SmallConfig();
  EXPECT_THAT((*files.Load())->frame().before, ElementsAre(kBos));
  files.config = nullptr;
  EXPECT_THAT((*files.Load())->frame().before, ElementsAre(kBos));
}

TEST(PromptFrame, ASpecialTokenMayStandForSeveralIdsAndAProcessorSurroundsTheOneBefore) {
  Files files;
  json twice = PostProcessor("bos_eos");
  twice["special_tokens"]["<s>"]["ids"] = {kBos, kSmallControl};
  files.tokenizer["post_processor"] = {{"type", "Sequence"}, {"processors", {PostProcessor("bos_eos"), twice}}};
  const PromptFrame frame = (*files.Load())->frame();
  EXPECT_THAT(frame.before, ElementsAre(kBos, kSmallControl, kBos));
  EXPECT_THAT(frame.behind, ElementsAre(kEos, kEos));
}

TEST(PromptFrame, WhatIsIgnoredIsSaid) {
  Files files;
  files.config = {{"bos_token", "<s>"}, {"add_bos_token", true}, {"tokenizer_class", "PreTrainedTokenizerFast"}};
  const auto tokenizer = files.Load();
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_THAT((*tokenizer)->warnings(), ElementsAre(HasSubstr("add_bos_token and add_eos_token are not looked at")));
}

TEST(PromptFrame, RefusesPostProcessorsBeyondUs) {
  const auto refused = [](const json& post_processor, const char* says) {
    Files files;
    files.tokenizer["post_processor"] = post_processor;
    const absl::Status status = files.Load().status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << says;
    EXPECT_THAT(std::string(status.message()), HasSubstr(says));
    EXPECT_EQ(status.message().find('\n'), absl::string_view::npos);
  };
  refused({{"type", "Unheard"}}, "post_processor.type: expected Sequence, TemplateProcessing");
  refused("ByteLevel", "post_processor: expected an object");
  refused(Template(json::array({Special("<s>")})), "post_processor.single: expected the text once, found it 0 times");
  refused(Template(json::array({kText, kText})), "found it 2 times");
  refused(Template(json::array({Special("<unheard>"), kText})),
          "post_processor.special_tokens.<unheard>: expected a value");
  refused({{"type", "BertProcessing"}, {"sep", {"</s>", 1}}}, "post_processor.cls");
  refused({{"type", "BertProcessing"}, {"sep", {"</s>", 1}}, {"cls", json::array({"<s>"})}}, "a token and its id");
  json unknown_id = PostProcessor("bos");
  unknown_id["special_tokens"]["<s>"]["ids"] = json::array({5000});
  refused(unknown_id, "post_processor: expected ids of tokens, found 5000");
  json nested = PostProcessor("bos");
  for (int i = 0; i < 20; ++i) nested = {{"type", "Sequence"}, {"processors", json::array({nested})}};
  refused(nested, "fewer nested sequences");
}

TEST(TokenizerNames, TokenizerJsonAloneIsEnough) {
  const auto tokenizer = Files{}.Load();
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_THAT(*(*tokenizer)->Encode("hell<|end|>", SpecialTokens::kRecognize), ElementsAre(kSmallHell, kSmallControl));
  EXPECT_FALSE((*tokenizer)->bos_id());
  EXPECT_THAT((*tokenizer)->warnings(), IsEmpty());
}

TEST(TokenizerNames, ComeFromTheOlderFileWhereTheNewerListsNoTokens) {
  Files files;
  files.special_tokens_map = {{"bos_token", {{"content", "<s>"}}}, {"eos_token", "</s>"}};
  EXPECT_EQ((*files.Load())->bos_id(), kBos);
  EXPECT_EQ((*files.Load())->eos_id(), kEos);
  files.config = {{"bos_token", "<|end|>"}, {"pad_token", "<|end|>"}};
  EXPECT_EQ((*files.Load())->bos_id(), kBos) << "it comes before the newer one";
  EXPECT_EQ((*files.Load())->config().pad_token, "<|end|>");
  files.config["added_tokens_decoder"] = json::object();
  EXPECT_EQ((*files.Load())->bos_id(), kSmallControl) << "unless that lists tokens";
}

TEST(TokenizerNames, ANamedTokenOfTheVocabularyIsAnAddedToken) {
  Files files;
  files.config = {{"eos_token", "hell"}, {"additional_special_tokens", {"he", {{"content", "ll"}}}}};
  const auto tokenizer = files.Load();
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_EQ((*tokenizer)->eos_id(), kSmallHell);
  EXPECT_TRUE((*tokenizer)->IsSpecial(kSmallHell));
  EXPECT_TRUE((*tokenizer)->IsSpecial(kSmallHe));
  // As an added token it is found inside of a word, before merges.
  EXPECT_THAT(*(*tokenizer)->Encode("ohello", SpecialTokens::kRecognize), ElementsAre('o', kSmallHell, 'o'));
}

TEST(TokenizerNames, ListedTokensGetTheIdsThatTheirFileGives) {
  Files files;
  files.config = {{"added_tokens_decoder", {{"400", {{"content", "<new>"}, {"special", true}, {"lstrip", true}}}}}};
  const auto decoder = files.Load();
  ASSERT_TRUE(decoder.ok()) << decoder.status();
  EXPECT_THAT(*(*decoder)->Encode("o  <new>", SpecialTokens::kRecognize), ElementsAre('o', 400));
  EXPECT_TRUE((*decoder)->IsSpecial(400));

  files.config = {{"pad_token", "<pad>"}};
  files.added_tokens = {{"<pad>", 401}, {"<plain>", 402}};
  const auto older = files.Load();
  ASSERT_TRUE(older.ok()) << older.status();
  EXPECT_THAT(*(*older)->Encode("<pad><plain>", SpecialTokens::kRecognize), ElementsAre(401, 402));
  EXPECT_TRUE((*older)->IsSpecial(401));
  EXPECT_FALSE((*older)->IsSpecial(402));
}

TEST(TokenizerNames, WhatHasNoIdIsLeftAsideAndSaid) {
  Files files;
  files.config = {{"unk_token", "<unk>"}, {"added_tokens_decoder", {{"97", {{"content", "<taken>"}}}}}};
  const auto tokenizer = files.Load();
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  ASSERT_THAT((*tokenizer)->warnings(), ElementsAre(HasSubstr("left aside: ")));
  EXPECT_THAT((*tokenizer)->warnings()[0], HasSubstr("\"<unk>\""));
  EXPECT_THAT((*tokenizer)->warnings()[0], HasSubstr("\"<taken>\""));
}

TEST(TokenizerNames, OtherTokenizersAreToldApart) {
  const TemporaryDirectory directory;
  WriteFile(directory.path() / "tokenizer.model", "SentencePiece");
  const absl::Status status = Tokenizer::Load(directory.path()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()), HasSubstr("found only tokenizer.model; load it with transformers"));
}

}  // namespace
}  // namespace latentd
