// A tokenizer.json with the pre-tokenizer of DeepSeek-V2, V2.5, V2-Lite and Coder-V2 (docs/spec/deepseek.md 5.1).
#pragma once

#include <span>

#include <nlohmann/json.hpp>

#include "base/unicode_classes.h"

namespace latentd {

// What the second stage takes for letters. Sorted; no two ranges touch.
std::span<const CodePointRange> DeepSeekV2Letters();

// The stages around SmallTokenizer's vocabulary.
nlohmann::json DeepSeekV2Tokenizer();

}  // namespace latentd
