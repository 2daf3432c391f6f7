// What goldens of every tokenizer are held to.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/utf8.h"
#include "engine/text/answer/detokenizer.h"
#include "engine/text/tokenizer/tokenizer.h"

namespace latentd {

// A case has a text, its ids, and what these are decoded to.
inline void ExpectIds(const Tokenizer& tokenizer, const nlohmann::json& golden, SpecialTokens special_tokens) {
  const auto text = golden["text"].get<std::string>();
  const auto ids = tokenizer.Encode(text, special_tokens);
  ASSERT_TRUE(ids.ok()) << ids.status();
  EXPECT_EQ(*ids, golden["ids"].get<std::vector<int32_t>>()) << golden["category"] << " " << text.substr(0, 200);
  EXPECT_EQ(tokenizer.Decode(*ids, SpecialText::kPrint), golden["decoded"].get<std::string>());
}

// Streamed one id at a time, each chunk must be whole characters and all together the whole text.
inline std::string Streamed(const Tokenizer& tokenizer, const std::vector<int32_t>& ids, SpecialText special_text) {
  Detokenizer detokenizer(tokenizer, special_text);
  std::string text;
  for (const int32_t id : ids) {
    const std::string chunk = detokenizer.Append(id);
    EXPECT_EQ(FindInvalidUtf8(chunk), std::nullopt);
    text += chunk;
  }
  return text + detokenizer.Flush();
}

}  // namespace latentd
