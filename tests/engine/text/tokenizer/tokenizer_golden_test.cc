// The results of the Rust library `tokenizers`, for our own tokenizer and for DeepSeek-V3's.
#include <iostream>
#include <map>
#include <memory>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "engine/text/tokenizer/tokenizer.h"
#include "tests/engine/text/tokenizer/golden_checks.h"
#include "tests/engine/text/tokenizer/golden_files.h"
#include "tests/support/shared_goldens.h"
#include "tests/support/temporary_directory.h"

namespace latentd {
namespace {

using nlohmann::json;

// Loaded once for all cases; the files of DeepSeek-V3 are unpacked for it.
const Tokenizer* LoadNamed(const std::string& name) {
  static std::map<std::string, std::unique_ptr<Tokenizer>> loaded;
  if (!loaded.contains(name)) {
    const TemporaryDirectory unpacked;
    std::filesystem::path directory = "models/tiny-tales";
    if (name == "deepseek_v3") {
      const std::filesystem::path packed = SharedGoldens("tokenizers") / name;
      directory = unpacked.path();
      WriteFile(directory / "tokenizer.json", ReadMaybeCompressed(packed / "tokenizer.json.xz"));
      std::filesystem::copy(packed / "tokenizer_config.json", directory);
    }
    auto tokenizer = Tokenizer::Load(directory);
    EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
    loaded[name] = tokenizer.ok() ? *std::move(tokenizer) : nullptr;
  }
  return loaded[name].get();
}

class TokenizerGoldens : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    const std::string name = GetParam();
    folder_ = name == "tiny_tales" ? "tests/data/tokenizer" : SharedGoldens("goldens/tokenizer");
    if (!AreThere(folder_)) GTEST_SKIP();
    tokenizer_ = LoadNamed(name);
    ASSERT_NE(tokenizer_, nullptr);
  }

  // `minimum` guards against goldens that are silently not there.
  std::vector<json> Cases(const std::string& kind, size_t minimum) const {
    std::vector<json> cases;
    for (const std::string& line : ReadLines(folder_ / (std::string(GetParam()) + "." + kind))) {
      cases.push_back(json::parse(line));
    }
    EXPECT_GE(cases.size(), minimum);
    std::cout << cases.size() << " cases\n";
    return cases;
  }

  std::filesystem::path folder_;
  const Tokenizer* tokenizer_ = nullptr;
};

TEST_P(TokenizerGoldens, EncodeGivesTheIds) {
  for (const json& golden : Cases("encode.jsonl.xz", 1000)) ExpectIds(*tokenizer_, golden, SpecialTokens::kRecognize);
}

TEST_P(TokenizerGoldens, SafeEncodeGivesTheIds) {
  for (const json& golden : Cases("encode_safe.jsonl", 100)) ExpectIds(*tokenizer_, golden, SpecialTokens::kAsText);
}

TEST_P(TokenizerGoldens, SplitGivesThePieces) {
  for (const json& golden : Cases("pieces.jsonl", 100)) {
    const auto text = golden["text"].get<std::string>();
    const auto pieces = tokenizer_->pre_tokenizer().Split(text);
    ASSERT_TRUE(pieces.ok()) << pieces.status();
    const std::vector<std::string> found(pieces->views.begin(), pieces->views.end());
    EXPECT_EQ(found, golden["pieces"].get<std::vector<std::string>>()) << golden["category"] << " " << text;
  }
}

TEST_P(TokenizerGoldens, DecodeGivesTheText) {
  for (const json& golden : Cases("decode.jsonl", 100)) {
    const auto ids = golden["ids"].get<std::vector<int32_t>>();
    EXPECT_EQ(tokenizer_->Decode(ids, SpecialText::kPrint), golden["text"].get<std::string>()) << golden.dump();
    EXPECT_EQ(tokenizer_->Decode(ids, SpecialText::kSkip), golden["text_skip_special"].get<std::string>());
  }
}

TEST_P(TokenizerGoldens, StreamedDecodeEqualsWholeDecode) {
  for (const json& golden : Cases("decode.jsonl", 100)) {
    const auto ids = golden["ids"].get<std::vector<int32_t>>();
    EXPECT_EQ(Streamed(*tokenizer_, ids, SpecialText::kPrint), golden["text"].get<std::string>()) << golden.dump();
    EXPECT_EQ(Streamed(*tokenizer_, ids, SpecialText::kSkip), golden["text_skip_special"].get<std::string>());
  }
  for (const json& golden : Cases("encode.jsonl.xz", 1000)) {
    const auto ids = golden["ids"].get<std::vector<int32_t>>();
    EXPECT_EQ(Streamed(*tokenizer_, ids, SpecialText::kPrint), golden["decoded"].get<std::string>());
  }
}

TEST_P(TokenizerGoldens, ConfigNamesTheSpecialTokens) {
  EXPECT_EQ(tokenizer_->config().bos_token, "<｜begin▁of▁sentence｜>");
  EXPECT_EQ(tokenizer_->bos_id(), 0);
  EXPECT_EQ(tokenizer_->eos_id(), 1);
  EXPECT_TRUE(tokenizer_->config().add_bos_token.value_or(false));
  EXPECT_EQ(tokenizer_->frame(), (PromptFrame{.before = {0}, .behind = {}}));
  EXPECT_TRUE(tokenizer_->IsSpecial(0));
  const auto user = tokenizer_->IdOf("<｜User｜>");
  ASSERT_TRUE(user.has_value());
  EXPECT_EQ(tokenizer_->TokenBytes(*user), "<｜User｜>");
  EXPECT_FALSE(tokenizer_->HasToken(tokenizer_->vocab_size()));
  EXPECT_TRUE(tokenizer_->HasToken(tokenizer_->vocab_size() - 1));
}

// The texts are ours, made by tests/system/tokenizer_comparison_test.py; the tokenizer's files are not.
TEST(DeepSeekTokenizer, GivesTheIdsOfRandomTexts) {
  if (!AreThere(SharedGoldens("tokenizers/deepseek_v3"))) GTEST_SKIP();
  const Tokenizer* const tokenizer = LoadNamed("deepseek_v3");
  ASSERT_NE(tokenizer, nullptr);
  size_t num_cases = 0;
  for (const std::string& line : ReadLines("tests/data/tokenizer/deepseek_v3.random.jsonl.xz")) {
    const json golden = json::parse(line);
    const auto ids = tokenizer->Encode(golden["text"].get<std::string>(), SpecialTokens::kRecognize);
    ASSERT_TRUE(ids.ok()) << ids.status();
    EXPECT_EQ(*ids, golden["ids"].get<std::vector<int32_t>>()) << line;
    EXPECT_EQ(tokenizer->Decode(*ids, SpecialText::kPrint), golden["decoded"].get<std::string>()) << line;
    ++num_cases;
  }
  EXPECT_EQ(num_cases, 1500u);
}

INSTANTIATE_TEST_SUITE_P(All, TokenizerGoldens, ::testing::Values("tiny_tales", "deepseek_v3"),
                         [](const auto& parameter) { return std::string(parameter.param); });

}  // namespace
}  // namespace latentd
