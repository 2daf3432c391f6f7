// Added tokens by the files beside tokenizer.json: as transformers 4.57 does.
#include <fstream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/engine/text/tokenizer/small_tokenizer.h"
#include "tests/support/temporary_directory.h"

namespace latentd {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr int32_t kEnd = 259, kToken = 260, kOther = 261;  // <|end|>, <x> and >!

json WithFlags(const char* content, const std::string& flags) {
  const auto has = [&](char flag) { return flags.find(flag) != std::string::npos; };
  return {{"content", content},      {"special", has('s')}, {"normalized", has('n')},
          {"single_word", has('w')}, {"lstrip", has('l')},  {"rstrip", has('r')}};
}

json WithId(int32_t id, json token) {
  token["id"] = id;
  return token;
}

struct Files {
  json tokenizer, config = json::object(), special_tokens_map;

  absl::StatusOr<std::unique_ptr<Tokenizer>> Load() const {
    const TemporaryDirectory directory;
    WriteFile(directory.path() / "tokenizer.json", tokenizer.dump());
    WriteFile(directory.path() / "tokenizer_config.json", config.dump());
    if (!special_tokens_map.is_null()) {
      WriteFile(directory.path() / "special_tokens_map.json", special_tokens_map.dump());
    }
    return Tokenizer::Load(directory.path());
  }
};

Files SmallFiles(const std::string& flags_of_token) {
  Files files;
  files.tokenizer = SmallTokenizer();
  files.tokenizer["added_tokens"] = {WithId(kEnd, WithFlags("<|end|>", "s")),
                                     WithId(kToken, WithFlags("<x>", flags_of_token)),
                                     WithId(kOther, WithFlags(">!", ""))};
  files.config["tokenizer_class"] = "PreTrainedTokenizerFast";
  return files;
}

// Lets the file that a recorded case names say `value`, flags or text, of <x>.
Files FilesOf(const json& recorded) {
  Files files = SmallFiles(recorded["in_json"]);
  const std::string where = recorded["where"], value = recorded["value"];
  json token = value == "text" ? json("<x>") : WithFlags("<x>", value);
  if (token.is_object() && where != "decoder") token["__type"] = "AddedToken";
  json& config = files.config;
  if (where.ends_with("_other")) config["added_tokens_decoder"] = {{"259", WithFlags("<|end|>", "s")}};
  if (where == "decoder") config["added_tokens_decoder"] = {{"260", token}};
  if (where == "bos_token" || where == "pad_token") config[where] = token;
  if (where == "both_bos") config["added_tokens_decoder"] = {{"260", WithFlags("<x>", recorded["in_json"])}};
  if (where == "both_bos" || where == "bos_other") config["bos_token"] = token;
  if (where.starts_with("additional")) config["additional_special_tokens"] = json::array({token});
  if (where.starts_with("extra")) config["extra_special_tokens"] = {{"my_token", token}};
  if (where == "map_bos") files.special_tokens_map = {{"bos_token", token}};
  if (where == "map_additional") files.special_tokens_map = {{"additional_special_tokens", json::array({token})}};
  if (where == "twice") files.tokenizer["added_tokens"].push_back(WithId(kToken, WithFlags("<x>", value)));
  if (where == "split") config["split_special_tokens"] = true;
  return files;
}

TEST(ListedTokens, AreThoseOfTransformers) {
  std::ifstream file("tests/data/tokenizer/added_tokens.jsonl");
  int num_cases = 0;
  for (std::string line; std::getline(file, line);) {
    const json recorded = json::parse(line);
    SCOPED_TRACE(line);
    const auto tokenizer = FilesOf(recorded).Load();
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
    json ids = json::array();
    for (const char* text : {"o <x> o", "o<x>o", "<x>!", "<|end|>"}) {
      ids.push_back(*(*tokenizer)->Encode(text, SpecialTokens::kRecognize));
    }
    EXPECT_EQ(ids, recorded["ids"]) << ids;
    const std::string decoded = (*tokenizer)->Decode(std::vector{kToken}, SpecialText::kSkip);
    EXPECT_EQ(decoded, recorded["is_special"] ? "" : "<x>");
    EXPECT_THAT((*tokenizer)->warnings(), IsEmpty());
    ++num_cases;
  }
  EXPECT_EQ(num_cases, 516);
}

TEST(ListedTokens, TheOlderFileTakesANameBack) {
  Files files = SmallFiles("");
  files.config["bos_token"] = "<x>";
  files.special_tokens_map = {{"bos_token", "<|end|>"}};
  const auto tokenizer = files.Load();
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_FALSE((*tokenizer)->IsSpecial(kToken));
  EXPECT_EQ((*tokenizer)->bos_id(), kEnd);
}

TEST(ListedTokens, EveryNameCounts) {
  for (const char* key : {"bos_token", "eos_token", "pad_token", "unk_token", "sep_token", "cls_token", "mask_token"}) {
    Files files = SmallFiles("");
    files.config[key] = "<x>";
    EXPECT_TRUE((*files.Load())->IsSpecial(kToken)) << key;
  }
}

TEST(ListedTokens, TwoThatDifferAreRefused) {
  Files files = SmallFiles("");
  files.tokenizer["added_tokens"].push_back(WithId(kToken, WithFlags("<x>", "w")));
  EXPECT_THAT(std::string(files.Load().status().message()), HasSubstr("with other flags before; remove one of them"));
}

TEST(TokenizerConfig, SpacesAreNotCleanedUpAndThatIsSaid) {
  Files files = SmallFiles("");
  files.config["clean_up_tokenization_spaces"] = true;
  const auto tokenizer = files.Load();
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_THAT((*tokenizer)->warnings(), ::testing::ElementsAre(HasSubstr("clean_up_tokenization_spaces is true")));
  EXPECT_EQ((*tokenizer)->Decode(std::vector<int32_t>{' ', ',', ' ', '.'}, SpecialText::kPrint), " , .");
}

}  // namespace
}  // namespace latentd
