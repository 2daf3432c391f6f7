// The fuzzed readers. A target takes any bytes and stops the process (CHECK) where a law does not hold: libFuzzer
// searches for such bytes (preset asan-ubsan, run.py), corpus_test.cc runs what was found and kept. Called from the
// repository's root.
#pragma once

#include <string_view>

namespace latentd {

void FuzzSafetensors(std::string_view input);    // a file
void FuzzConfig(std::string_view input);         // config.json, NUL, generation_config.json
void FuzzTokenizerJson(std::string_view input);  // tokenizer.json, NUL, tokenizer_config.json
void FuzzTiktoken(std::string_view input);       // tiktoken.model, NUL, tokenizer_config.json
void FuzzTemplate(std::string_view input);       // a chat template
void FuzzDetokenizer(std::string_view input);    // ids of two bytes each
void FuzzEncode(std::string_view input);         // two bytes that choose, then text

struct FuzzTarget {
  const char* name;  // of its corpus, too
  void (*run)(std::string_view input);
};
inline constexpr FuzzTarget kFuzzTargets[] = {
    {"safetensors", FuzzSafetensors}, {"config", FuzzConfig},     {"tokenizer_json", FuzzTokenizerJson},
    {"tiktoken", FuzzTiktoken},       {"template", FuzzTemplate}, {"detokenizer", FuzzDetokenizer},
    {"encode", FuzzEncode},
};

}  // namespace latentd
