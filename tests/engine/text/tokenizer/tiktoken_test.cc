// tiktoken.model: what the Python library `tiktoken` computed with our synthetic tokenizer, and files that are broken.
#include <functional>
#include <iostream>
#include <random>

#include <absl/strings/escaping.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "engine/text/tokenizer/long_run_cuts.h"
#include "engine/text/tokenizer/tokenizer.h"
#include "tests/engine/text/tokenizer/golden_checks.h"
#include "tests/engine/text/tokenizer/golden_files.h"
#include "tests/engine/text/tokenizer/small_tokenizer.h"
#include "tests/support/shared_goldens.h"
#include "tests/support/temporary_directory.h"

namespace latentd {
namespace {

using nlohmann::json;

constexpr const char* kOwnFolder = "tests/data/tiktoken";

const Tokenizer& Synthetic() {
  static const std::unique_ptr<Tokenizer> tokenizer = *Tokenizer::Load(kOwnFolder);
  return *tokenizer;
}

// A part of the cases lies beside the tokenizer, all of them among the goldens.
class TiktokenGoldens : public ::testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    folder_ = GetParam() ? SharedGoldens("goldens/tiktoken") : kOwnFolder;
    if (!AreThere(folder_)) GTEST_SKIP();
  }

  std::vector<json> Cases(const std::string& kind) const {
    std::filesystem::path path = folder_ / ("tiktoken." + kind + ".jsonl");
    if (!std::filesystem::exists(path)) path += ".xz";
    std::vector<json> cases;
    for (const std::string& line : ReadLines(path)) cases.push_back(json::parse(line));
    EXPECT_GE(cases.size(), GetParam() ? 60u : 10u);
    std::cout << cases.size() << " cases\n";
    return cases;
  }

  void ExpectIdsAndStream(const json& golden, SpecialTokens special_tokens) const {
    ExpectIds(Synthetic(), golden, special_tokens);
    const auto ids = golden["ids"].get<std::vector<int32_t>>();
    EXPECT_EQ(Streamed(Synthetic(), ids, SpecialText::kPrint), golden["decoded"].get<std::string>());
  }

  std::filesystem::path folder_;
};

TEST_P(TiktokenGoldens, EncodeGivesTheIds) {
  for (const json& golden : Cases("encode")) ExpectIdsAndStream(golden, SpecialTokens::kRecognize);
}

TEST_P(TiktokenGoldens, SafeEncodeGivesTheIds) {
  for (const json& golden : Cases("encode_safe")) ExpectIdsAndStream(golden, SpecialTokens::kAsText);
}

TEST_P(TiktokenGoldens, SplitGivesThePieces) {
  for (const json& golden : Cases("pieces")) {
    const auto text = golden["text"].get<std::string>();
    const auto pieces = Synthetic().pre_tokenizer().Split(text);
    ASSERT_TRUE(pieces.ok()) << pieces.status();
    const std::vector<std::string> found(pieces->views.begin(), pieces->views.end());
    EXPECT_EQ(found, golden["pieces"].get<std::vector<std::string>>()) << text;
  }
}

TEST_P(TiktokenGoldens, DecodeGivesTheText) {
  for (const json& golden : Cases("decode")) {
    const auto ids = golden["ids"].get<std::vector<int32_t>>();
    EXPECT_EQ(Synthetic().Decode(ids, SpecialText::kPrint), golden["text"].get<std::string>()) << golden.dump();
    EXPECT_EQ(Streamed(Synthetic(), ids, SpecialText::kPrint), golden["text"].get<std::string>()) << golden.dump();
  }
}

INSTANTIATE_TEST_SUITE_P(All, TiktokenGoldens, ::testing::Values(false, true),
                         [](const auto& parameter) { return parameter.param ? "shared" : "own"; });

TEST(Tiktoken, IdsWithoutAnEntryAreReservedAndSpecial) {
  const int32_t last = Synthetic().vocab_size() - 1;
  EXPECT_EQ(last, 8192 + 255);
  EXPECT_EQ(Synthetic().bos_id(), 8192);
  for (int32_t id = 8192; id <= last; ++id) ASSERT_TRUE(Synthetic().HasToken(id)) << id;
  const auto reserved = Synthetic().IdOf("<|reserved_token_8300|>");
  ASSERT_EQ(reserved, 8300);
  EXPECT_TRUE(Synthetic().IsSpecial(8300));
}

TEST(LongRunCuts, EndPartsInLongRunsAndAt400000Characters) {
  EXPECT_EQ(LongRunCuts(""), (std::vector<size_t>{0}));
  EXPECT_EQ(LongRunCuts(std::string(25'000, 'a')), (std::vector<size_t>{25'000}));
  EXPECT_EQ(LongRunCuts(std::string(25'001, 'a')), (std::vector<size_t>{25'000, 25'001}));
  EXPECT_EQ(LongRunCuts("a" + std::string(25'001, '\x1F')), (std::vector<size_t>{25'001, 25'002}));
  std::string words;
  while (words.size() < 800'002) words += "a ";
  EXPECT_EQ(LongRunCuts(words), (std::vector<size_t>{400'000, 800'000, 800'002}));
}

// Each byte is the token of that rank.
std::string ByteRanks() {
  std::string text;
  for (int byte = 0; byte < 256; ++byte) {
    text += absl::Base64Escape(std::string(1, static_cast<char>(byte))) + " " + std::to_string(byte) + "\n";
  }
  return text;
}

absl::StatusOr<std::unique_ptr<Tokenizer>> LoadRanks(const std::string& ranks,
                                                     const std::string& config = R"({"added_tokens_decoder":{}})") {
  const TemporaryDirectory directory;
  WriteFile(directory.path() / "tiktoken.model", ranks);
  WriteFile(directory.path() / "tokenizer_config.json", config);
  return Tokenizer::Load(directory.path());
}

void ExpectRefused(const absl::Status& status, const std::string& part) {
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status << " for " << part;
  const std::string message(status.message());
  EXPECT_NE(message.find(part), std::string::npos) << message;
  EXPECT_EQ(message.find('\n'), std::string::npos) << message;
}

TEST(Tiktoken, TokenizerJsonComesFirst) {
  const TemporaryDirectory directory;
  WriteFile(directory.path() / "tiktoken.model", "broken");
  WriteFile(directory.path() / "tokenizer.json", SmallTokenizer().dump());
  WriteFile(directory.path() / "tokenizer_config.json", SmallConfig().dump());
  EXPECT_TRUE(Tokenizer::Load(directory.path()).ok());
}

TEST(BrokenTiktoken, WrongRanks) {
  ASSERT_TRUE(LoadRanks(ByteRanks()).ok());
  ExpectRefused(LoadRanks("").status(), "tiktoken.model: expected lines");
  ExpectRefused(LoadRanks("YQ== 0\n").status(), "a token for each byte, found none for 0x00");
  ExpectRefused(LoadRanks(ByteRanks() + "Y*I= 256\n").status(), "tiktoken.model:257: expected base64");
  ExpectRefused(LoadRanks(ByteRanks() + "YWI 256\n").status(), "tiktoken.model:257: expected base64");
  ExpectRefused(LoadRanks(ByteRanks() + "YWI= \n").status(), "tiktoken.model:257: expected a rank");
  ExpectRefused(LoadRanks(ByteRanks() + "YWI=\n").status(), "tiktoken.model:257: expected a rank");
  ExpectRefused(LoadRanks(ByteRanks() + "YWI= 99999999999\n").status(), "tiktoken.model:257: expected a rank");
  ExpectRefused(LoadRanks(ByteRanks() + "YWI= 7\n").status(), "tiktoken.model:257: expected each rank once");
  ExpectRefused(LoadRanks(ByteRanks() + "YQ== 256\n").status(), "tiktoken.model:257: expected each token once");
  ExpectRefused(LoadRanks(ByteRanks() + "YWI= 257\n").status(), "found no rank 256");
}

TEST(BrokenTiktoken, WrongSpecialTokens) {
  const auto refused = [](const std::string& entries, const std::string& part) {
    ExpectRefused(LoadRanks(ByteRanks(), "{\"added_tokens_decoder\":" + entries + "}").status(), part);
  };
  refused("null", "added_tokens_decoder: expected a value");
  refused(R"({"x":{"content":"a"}})", "an id from 256");
  refused(R"({"255":{"content":"a"}})", "an id from 256");
  refused(R"({"256":{}})", "content");
  refused(R"({"256":{"content":""}})", "1 to 1024 bytes");
  refused(R"({"256":{"content":"a"},"256":{"content":"b"}})", "each JSON key once, found \"256\" twice");
  refused(R"({"256":{"content":"a"},"0256":{"content":"b"}})", "each id once");
  refused(R"({"256":{"content":"a"},"257":{"content":"a"}})", "one id for each content");
}

TEST(BrokenTiktoken, WhatIsNoRegularFileIsRefused) {
  const TemporaryDirectory directory;
  std::filesystem::create_directory(directory.path() / "tiktoken.model");
  ExpectRefused(Tokenizer::Load(directory.path()).status(), "expected a regular file");
}

TEST(BrokenTiktoken, RandomBytesLoadOrAreRefused) {
  constexpr uint32_t kSeed = 20261124;
  std::mt19937 random(kSeed);
  for (int round = 0; round < 500; ++round) {
    std::string ranks = ByteRanks();
    if (round % 2 == 0) {
      ranks.resize(random() % 2000);
      for (char& byte : ranks) byte = static_cast<char>(random());
    } else {
      ranks[random() % ranks.size()] ^= static_cast<char>(1 << random() % 8);
    }
    const auto tokenizer = LoadRanks(ranks);
    if (tokenizer.ok()) continue;
    ExpectRefused(tokenizer.status(), "tiktoken.model");
  }
}

}  // namespace
}  // namespace latentd
