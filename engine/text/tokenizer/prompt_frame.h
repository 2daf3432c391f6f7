// The tokens that a tokenizer puts around a whole prompt: most often BOS before it, seldom EOS behind it.
#pragma once

#include <cstdint>
#include <vector>

#include "base/json_file.h"

namespace latentd {

struct PromptFrame {
  std::vector<int32_t> before;
  std::vector<int32_t> behind;
  bool operator==(const PromptFrame&) const = default;
};

// Reads the post_processor of a tokenizer.json; an unsupported one is refused.
PromptFrame ReadPostProcessor(JsonFile& json, JsonFile::Object root);

}  // namespace latentd
