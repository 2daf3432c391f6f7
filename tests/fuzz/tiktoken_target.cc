// tiktoken.model and the special tokens in tokenizer_config.json.
#include <absl/strings/escaping.h>

#include "base/check.h"
#include "tests/fuzz/laws.h"
#include "tests/fuzz/targets.h"

namespace latentd {
namespace {

constexpr std::string_view kText =
    "HTTPServer iPhone's 12345\r\n\r\n \u4E2D\u6587\u3007 <|a|> \u00E9e\u0301\u2028 abab <|reserved_token_256|>";

// The lines of the ranks 0 to 255, which every accepted file has.
std::string ByteRanks() {
  std::string lines;
  for (int byte = 0; byte < 256; ++byte) {
    lines += absl::Base64Escape(std::string(1, static_cast<char>(byte))) + " " + std::to_string(byte) + "\n";
  }
  return lines;
}

}  // namespace

void FuzzTiktoken(std::string_view input) {
  static const std::string kByteRanks = ByteRanks();
  const std::filesystem::path& directory = InputDirectory().path();
  const auto [ranks, config] = SplitAtNul(input, R"({"added_tokens_decoder":{}})");
  WriteFile(directory / "tiktoken.model", Replaced(ranks, "@BYTES@", kByteRanks));
  WriteFile(directory / "tokenizer_config.json", config);
  const auto tokenizer = Tokenizer::Load(directory);
  if (!tokenizer.ok()) return CheckRefusal(tokenizer.status());
  CheckTokenizer(**tokenizer, kText);
  // No flag of an added token changes the text around it here.
  const auto ids = (*tokenizer)->Encode(kText, SpecialTokens::kRecognize);
  CHECK_EQ((*tokenizer)->Decode(*ids, SpecialText::kPrint), kText);
}

}  // namespace latentd
