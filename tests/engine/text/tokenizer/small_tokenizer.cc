#include "tests/engine/text/tokenizer/small_tokenizer.h"

#include "base/utf8.h"
#include "engine/text/tokenizer/byte_alphabet.h"
#include "tests/support/temporary_directory.h"

namespace latentd {

using nlohmann::json;

json SmallTokenizer() {
  json vocabulary = json::object();
  for (int byte = 0; byte < 256; ++byte) {
    std::string text;
    AppendUtf8(AlphabetCharacter(static_cast<uint8_t>(byte)), text);
    vocabulary[text] = byte;
  }
  vocabulary["he"] = kSmallHe;
  vocabulary["ll"] = 257;
  vocabulary["hell"] = kSmallHell;
  return {{"added_tokens", json::array({{{"id", kSmallControl}, {"content", "<|end|>"}, {"special", true}}})},
          {"pre_tokenizer",
           {{"type", "Sequence"},
            {"pretokenizers",
             json::array({{{"type", "Split"}, {"pattern", {{"Regex", R"(\s+)"}}}, {"behavior", "Isolated"}},
                          {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}}})}}},
          {"decoder", {{"type", "ByteLevel"}}},
          {"model", {{"type", "BPE"}, {"vocab", vocabulary}, {"merges", {"h e", "l l", "he ll"}}}}};
}

json SmallTokenizerWith(const std::vector<std::string>& added_tokens) {
  json tokenizer = SmallTokenizer();
  int32_t id = kSmallControl;
  for (const std::string& content : added_tokens) {
    tokenizer["added_tokens"].push_back({{"id", ++id}, {"content", content}, {"special", false}});
  }
  return tokenizer;
}

std::vector<std::string> DeepSeekMarkers() {
  return {"<think>",
          "</think>",
          "<｜tool▁calls▁begin｜>",
          "<｜tool▁calls▁end｜>",
          "<｜tool▁call▁begin｜>",
          "<｜tool▁call▁end｜>",
          "<｜tool▁sep｜>"};
}

std::vector<std::string> KimiMarkers() {
  return {"<think>",
          "</think>",
          "<|tool_calls_section_begin|>",
          "<|tool_calls_section_end|>",
          "<|tool_call_begin|>",
          "<|tool_call_end|>",
          "<|tool_call_argument_begin|>"};
}

json SmallConfig() { return {{"bos_token", "<|end|>"}, {"eos_token", {{"content", "<|end|>"}}}}; }

absl::StatusOr<std::unique_ptr<Tokenizer>> LoadFrom(const std::string& tokenizer, const std::string& config) {
  const TemporaryDirectory directory;
  WriteFile(directory.path() / "tokenizer.json", tokenizer);
  WriteFile(directory.path() / "tokenizer_config.json", config);
  return Tokenizer::Load(directory.path());
}

absl::StatusOr<std::unique_ptr<Tokenizer>> LoadFrom(const json& tokenizer) {
  return LoadFrom(tokenizer.dump(), SmallConfig().dump());
}

}  // namespace latentd
