// Any bytes into three tokenizers: the bundled model's, one in tiktoken.model, one with the stages of DeepSeek-V2. What
// is no UTF-8 is refused, everything else comes back.
#include <array>

#include "base/check.h"
#include "base/utf8.h"
#include "tests/engine/text/tokenizer/deepseek_v2.h"
#include "tests/engine/text/tokenizer/small_tokenizer.h"
#include "tests/fuzz/laws.h"
#include "tests/fuzz/targets.h"

namespace latentd {
namespace {

const Tokenizer& Choose(uint8_t number) {
  static const std::array<std::unique_ptr<Tokenizer>, 3> kTokenizers = {
      *Tokenizer::Load("models/tiny-tales"), *Tokenizer::Load("tests/data/tiktoken"), *LoadFrom(DeepSeekV2Tokenizer())};
  return *kTokenizers[number % kTokenizers.size()];
}

}  // namespace

void FuzzEncode(std::string_view input) {
  if (input.size() < 2) return;
  const Tokenizer& tokenizer = Choose(static_cast<uint8_t>(input[0]));
  const std::string_view text = input.substr(2);
  const size_t cut = std::min<size_t>(static_cast<uint8_t>(input[1]), text.size());
  for (const SpecialTokens special_tokens : {SpecialTokens::kRecognize, SpecialTokens::kAsText}) {
    const auto ids = tokenizer.Encode(text, special_tokens);
    CHECK_EQ(ids.ok(), !FindInvalidUtf8(text));
    if (!ids.ok()) return CheckRefusal(ids.status());
    CHECK_EQ(tokenizer.Decode(*ids, SpecialText::kPrint), text);
    // Spans with one rule are one text.
    const TextSpan spans[] = {{text.substr(0, cut), special_tokens}, {text.substr(cut), special_tokens}};
    CHECK(*tokenizer.Encode(spans) == *ids);
  }
  const TextSpan mixed[] = {{text.substr(0, cut), SpecialTokens::kRecognize},
                            {text.substr(cut), SpecialTokens::kAsText}};
  CHECK_EQ(tokenizer.Decode(*tokenizer.Encode(mixed), SpecialText::kPrint), text);
}

}  // namespace latentd
