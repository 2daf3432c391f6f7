// Tokenizer files that are damaged, contradictory or beyond us: one line that says where, never anything worse.
#include <functional>
#include <random>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "tests/engine/text/tokenizer/small_tokenizer.h"
#include "tests/support/temporary_directory.h"

namespace latentd {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

void ExpectRefused(const absl::Status& status, const std::string& part) {
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status << " for " << part;
  const std::string message(status.message());
  EXPECT_NE(message.find(part), std::string::npos) << message;
  EXPECT_NE(message.find("/tokenizer"), std::string::npos) << "names the file: " << message;
  EXPECT_EQ(message.find('\n'), std::string::npos) << message;
  EXPECT_LT(message.size(), 400u) << message;
}

struct Damage {
  const char* part;  // of the message
  std::function<void(json&)> apply;
};

void ExpectAllRefused(const std::vector<Damage>& damages) {
  for (const Damage& damage : damages) {
    json file = SmallTokenizer();
    damage.apply(file);
    ExpectRefused(LoadFrom(file).status(), damage.part);
  }
}

json& Stages(json& file) { return file["pre_tokenizer"]["pretokenizers"]; }

TEST(BrokenTokenizer, TheUndamagedFileLoads) { EXPECT_TRUE(LoadFrom(SmallTokenizer()).ok()); }

TEST(BrokenTokenizer, WrongModels) {
  ExpectAllRefused({
      {"model: expected a value", [](json& f) { f.erase("model"); }},
      {"model: expected an object, found an array", [](json& f) { f["model"] = json::array(); }},
      {"model.type: expected BPE, found \"WordPiece\"", [](json& f) { f["model"]["type"] = "WordPiece"; }},
      {"model.type", [](json& f) { f["model"]["type"] = 3; }},
      {"model.dropout", [](json& f) { f["model"]["dropout"] = 0.1; }},
      {"model.byte_fallback", [](json& f) { f["model"]["byte_fallback"] = true; }},
      {"model.ignore_merges", [](json& f) { f["model"]["ignore_merges"] = "yes"; }},
      {"model.end_of_word_suffix", [](json& f) { f["model"]["end_of_word_suffix"] = "</w>"; }},
      {"model.vocab", [](json& f) { f["model"].erase("vocab"); }},
      {"model.vocab", [](json& f) { f["model"]["vocab"] = json::array({"a"}); }},
      {"model.vocab[\"a\"]: expected an integer", [](json& f) { f["model"]["vocab"]["a"] = "1"; }},
      {"model.vocab[\"a\"]", [](json& f) { f["model"]["vocab"]["a"] = -1; }},
      {"model.vocab[\"a\"]", [](json& f) { f["model"]["vocab"]["a"] = 1.5; }},
      {"model.vocab[\"a\"]", [](json& f) { f["model"]["vocab"]["a"] = 4'000'000'000; }},
      {"id 98 stands for \"a\" and for \"b\"", [](json& f) { f["model"]["vocab"]["a"] = 98; }},
      {"found none for 0x41", [](json& f) { f["model"]["vocab"].erase("A"); }},
      {"model.merges", [](json& f) { f["model"].erase("merges"); }},
      {"model.merges[1]", [](json& f) { f["model"]["merges"][1] = "ll"; }},
      {"model.merges[1]", [](json& f) { f["model"]["merges"][1] = "l l l"; }},
      {"model.merges[1]", [](json& f) { f["model"]["merges"][1] = 5; }},
      {"model.merges[1]",
       [](json& f) {
         f["model"]["merges"][1] = {"l", "l", "l"};
       }},
      {"model.merges[1]",
       [](json& f) {
         f["model"]["merges"][1] = {"l", 1};
       }},
      {"model.merges[1]: expected tokens of model.vocab, found \"lz\"",
       [](json& f) { f["model"]["merges"][1] = "l z"; }},
  });
}

TEST(BrokenTokenizer, WrongStages) {
  ExpectAllRefused({
      {"pre_tokenizer: expected a value, with ByteLevel in it, found none; only byte-level BPE is computed here: serve",
       [](json& f) { f["pre_tokenizer"] = nullptr; }},
      {"decoder: expected a value, with ByteLevel in it, found none; only", [](json& f) { f.erase("decoder"); }},
      {"normalizer.type: expected no normalizer, found \"NFC\"; only byte-level BPE is computed here: serve token ids",
       [](json& f) {
         f["normalizer"] = {{"type", "NFC"}};
       }},
      {"pre_tokenizer.type", [](json& f) { f["pre_tokenizer"]["type"] = "Metaspace"; }},
      {"pre_tokenizer.pretokenizers", [](json& f) { Stages(f) = "none"; }},
      {"one ByteLevel stage", [](json& f) { Stages(f) = json::array(); }},
      {"one ByteLevel stage", [](json& f) { Stages(f).erase(1); }},
      {"one ByteLevel stage", [](json& f) { Stages(f).push_back(Stages(f)[0]); }},
      {"pretokenizers[0].type", [](json& f) { Stages(f)[0]["type"] = "Whitespace"; }},
      {"pretokenizers[0].type", [](json& f) { Stages(f)[0].erase("type"); }},
      {"pretokenizers[0].behavior", [](json& f) { Stages(f)[0]["behavior"] = "Sideways"; }},
      {"pretokenizers[0].invert", [](json& f) { Stages(f)[0]["invert"] = 1; }},
      {"pretokenizers[0].pattern", [](json& f) { Stages(f)[0].erase("pattern"); }},
      {"pretokenizers[0].pattern.Regex", [](json& f) { Stages(f)[0]["pattern"] = json::object(); }},
      {"pretokenizers[0].pattern.Regex", [](json& f) { Stages(f)[0]["pattern"]["Regex"] = 1; }},
      {"regular expression", [](json& f) { Stages(f)[0]["pattern"]["Regex"] = "(\n"; }},
      {"regular expression, byte 2: escape \\w", [](json& f) { Stages(f)[0]["pattern"]["Regex"] = "\\w"; }},
      {"pretokenizers[1].use_regex", [](json& f) { Stages(f)[1]["use_regex"] = 0; }},
      {"normalizer",
       [](json& f) {
         f["normalizer"] = {{"type", "NFC"}};
       }},
      {"normalizer",
       [](json& f) {
         f["normalizer"] = {{"type", "Sequence"}, {"normalizers", {{{"type", "NFC"}}}}};
       }},
      {"decoder", [](json& f) { f.erase("decoder"); }},
      {"decoder.type", [](json& f) { f["decoder"]["type"] = "Metaspace"; }},
      {"nested sequences",
       [](json& f) {
         for (int i = 0; i < 100; ++i) {
           f["pre_tokenizer"] = {{"type", "Sequence"}, {"pretokenizers", json::array({f["pre_tokenizer"]})}};
         }
       }},
      {"64 stages", [](json& f) { Stages(f).insert(Stages(f).begin(), 1000, Stages(f)[0]); }},
  });
}

TEST(BrokenTokenizer, WrongAddedTokens) {
  const auto token = [](json& f) -> json& { return f["added_tokens"][0]; };
  ExpectAllRefused({
      {"added_tokens", [](json& f) { f["added_tokens"] = json::object(); }},
      {"added_tokens[0]", [](json& f) { f["added_tokens"][0] = 7; }},
      {"added_tokens[0].id", [&](json& f) { token(f).erase("id"); }},
      {"added_tokens[0].id", [&](json& f) { token(f)["id"] = 1 << 20; }},
      {"added_tokens[0].content", [&](json& f) { token(f).erase("content"); }},
      {"added_tokens[0].content", [&](json& f) { token(f)["content"] = ""; }},
      {"added_tokens[0].content", [&](json& f) { token(f)["content"] = std::string(2000, 'x'); }},
      {"added_tokens[0].special", [&](json& f) { token(f)["special"] = "true"; }},
      {"id 97 stands for", [&](json& f) { token(f)["id"] = 97; }},
      {"expected one id for \"a\", found 97 and 300", [&](json& f) { token(f)["content"] = "a"; }},
      {"it with the ids 300 and 301; remove one of them",
       [&](json& f) {
         f["added_tokens"].push_back(token(f));
         f["added_tokens"][1]["id"] = 301;
       }},
  });
}

TEST(BrokenTokenizer, WrongText) {
  const std::string config = SmallConfig().dump(), file = SmallTokenizer().dump();
  for (const std::string& text : {std::string(), std::string("\0\0\0", 3), std::string("[]"), std::string("nul"),
                                  std::string("{\"a\": \"\xFF\"}"), std::string(5000, '[')}) {
    ExpectRefused(LoadFrom(text, config).status(), "tokenizer.json");
    ExpectRefused(LoadFrom(file, text).status(), "tokenizer_config.json");
  }
  std::string surrogate = file;
  surrogate.replace(surrogate.find("<|end|>"), 7, "\\ud800x");
  EXPECT_EQ(LoadFrom(surrogate, config).status().code(), absl::StatusCode::kInvalidArgument);
  std::string twice = file;
  twice.replace(twice.find("\"vocab\":{"), 9, "\"vocab\":{\"a\":97,");
  ExpectRefused(LoadFrom(twice, config).status(), "expected each token once, found \"a\" twice");
}

TEST(BrokenTokenizer, WrongConfigs) {
  const std::string file = SmallTokenizer().dump();
  const auto refused = [&](const json& config, const std::string& part) {
    ExpectRefused(LoadFrom(file, config.dump()).status(), part);
  };
  refused({{"bos_token", 1}}, "bos_token");
  refused({{"bos_token", json::object()}}, "bos_token.content");
  refused({{"add_bos_token", "yes"}}, "add_bos_token");
  refused({{"add_bos_token", true}}, "add_bos_token expects bos_token");
  refused({{"add_bos_token", true}, {"bos_token", "<s>"}}, "found \"<s>\"");
  refused({{"add_eos_token", true}}, "add_eos_token expects eos_token");
  refused({{"tokenizer_class", 1}}, "tokenizer_class");
  refused({{"added_tokens_decoder", {{"x", "y"}}}}, "added_tokens_decoder[\"x\"]");
}

TEST(BrokenTokenizer, AnIntegerBeyond64BitsIsNoDamage) {
  const std::string file = SmallTokenizer().dump(), length = "1000000000000000019884624838656";
  const auto tokenizer =
      LoadFrom(file, R"({"model_max_length": )" + length + R"(, "bos_token": "\"[)" + length + R"(]"})");
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_EQ((*tokenizer)->config().bos_token, "\"[" + length + "]");
  ExpectRefused(LoadFrom(file, R"({"a": 1000000000000000019884624838656, "b": 1-2})").status(), "expected JSON");
}

TEST(BrokenTokenizer, WhatIsNoFileIsToldApart) {
  const TemporaryDirectory directory;
  EXPECT_EQ(Tokenizer::Load(directory.path()).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(Tokenizer::Load(directory.path() / "none").status().code(), absl::StatusCode::kNotFound);
  std::filesystem::create_directory(directory.path() / "tokenizer.json");
  ExpectRefused(Tokenizer::Load(directory.path()).status(), "expected a regular file");
  std::filesystem::remove(directory.path() / "tokenizer.json");
  ASSERT_EQ(mkfifo((directory.path() / "tokenizer.json").c_str(), 0600), 0);
  ExpectRefused(Tokenizer::Load(directory.path()).status(), "expected a regular file");
}

TEST(BrokenTokenizer, EveryCutOfTheFileIsRefused) {
  const std::string file = SmallTokenizer().dump(), config = SmallConfig().dump();
  for (size_t length = 0; length < file.size(); length += 1 + length / 40) {
    ExpectRefused(LoadFrom(file.substr(0, length), config).status(),
                  length == 0 ? "an empty file; fetch it again" : "that end in the middle of it; fetch the file again");
  }
}

TEST(BrokenTokenizer, AKeyThatIsThereTwiceIsRefusedInEveryFile) {
  const std::string tokenizer = SmallTokenizer().dump();
  const auto refused = [&](const char* file, const std::string& text, const char* key) {
    const TemporaryDirectory directory;
    WriteFile(directory.path() / "tokenizer.json", tokenizer);
    WriteFile(directory.path() / file, text);
    const std::string message(Tokenizer::Load(directory.path()).status().message());
    EXPECT_THAT(message, HasSubstr(file));
    EXPECT_THAT(message, HasSubstr("expected each JSON key once, found \"" + std::string(key) + "\" twice"));
  };
  refused("tokenizer_config.json", R"({"add_bos_token": false, "add_bos_token": true})", "add_bos_token");
  refused("tokenizer_config.json", R"({"a": [{"b": {"c": 1, "c": 1}}]})", "c");
  refused("special_tokens_map.json", R"({"bos_token": "a", "bos_token": "b"})", "bos_token");
  refused("added_tokens.json", R"({"<a>": 300, "<a>": 301})", "<a>");
  std::string twice = tokenizer;
  twice.insert(1, R"("normalizer": null, "normalizer": null, )");
  refused("tokenizer.json", twice, "normalizer");
}

TEST(BrokenTokenizer, NumbersThatPythonWrites) {
  const auto load = [](const std::string& config) { return LoadFrom(SmallTokenizer().dump(), config); };
  const auto tokenizer =
      load(R"({"model_max_length": Infinity, "a": [NaN, -Infinity, 1e3, 1000000000000000019884624838656],
                                  "bos_token": "<|end|>", "b": "\"NaN\\"})");
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_EQ((*tokenizer)->bos_id(), kSmallControl);
  EXPECT_THAT(std::string(load(R"({"add_bos_token": NaN})").status().message()), HasSubstr("expected true or false"));
  EXPECT_THAT(std::string(load(R"({"a": Nan})").status().message()), HasSubstr("expected JSON"));
}

TEST(BrokenTokenizer, FlippedBitsLoadOrAreRefused) {
  constexpr uint32_t kSeed = 20240613;
  std::mt19937 random(kSeed);
  const std::string file = SmallTokenizer().dump(), config = SmallConfig().dump();
  int num_refused = 0;
  for (int round = 0; round < 500; ++round) {
    std::string damaged = file;
    for (size_t i = 1 + random() % 3; i > 0; --i) {
      char& byte = damaged[random() % damaged.size()];
      byte = static_cast<char>(byte ^ (1 << random() % 8));
    }
    const auto tokenizer = LoadFrom(damaged, config);
    if (tokenizer.ok()) {
      EXPECT_TRUE((*tokenizer)->Encode("hello <|end|> é", SpecialTokens::kRecognize).ok());
    } else {
      ++num_refused;
      EXPECT_EQ(tokenizer.status().code(), absl::StatusCode::kInvalidArgument) << "seed " << kSeed;
      EXPECT_EQ(tokenizer.status().message().find('\n'), absl::string_view::npos) << tokenizer.status();
    }
  }
  EXPECT_GT(num_refused, 150);
}

}  // namespace
}  // namespace latentd
