// tokenizer.json and tokenizer_config.json.
#include "base/check.h"
#include "base/utf8.h"
#include "engine/text/tokenizer/byte_alphabet.h"
#include "tests/fuzz/laws.h"
#include "tests/fuzz/targets.h"

namespace latentd {
namespace {

constexpr std::string_view kTexts[] = {
    "Hello, world!  How's it\r\n\r\n  going? 12345 \t",
    "<|a|> \u4E2D\u6587\u3001\u3007 \u3072\u3089 \u00E9e\u0301 \u2028\u00A0 \U0001F600 <|b|> x<|a|>",
};

// "Ā":0,"ā":1 and so on: the members that every accepted vocabulary has.
std::string ByteTokens() {
  std::string members;
  for (int byte = 0; byte < 256; ++byte) {
    std::string text;
    AppendUtf8(AlphabetCharacter(static_cast<uint8_t>(byte)), text);
    if (text == "\"" || text == "\\") text.insert(0, "\\");
    members += (byte == 0 ? "\"" : ",\"") + text + "\":" + std::to_string(byte);
  }
  return members;
}

}  // namespace

void FuzzTokenizerJson(std::string_view input) {
  static const std::string kByteTokens = ByteTokens();
  const std::filesystem::path& directory = InputDirectory().path();
  const auto [tokenizer_json, config] = SplitAtNul(input, "{}");
  WriteFile(directory / "tokenizer.json", Replaced(tokenizer_json, "@BYTES@", kByteTokens));
  WriteFile(directory / "tokenizer_config.json", config);
  const auto tokenizer = Tokenizer::Load(directory);
  if (!tokenizer.ok()) return CheckRefusal(tokenizer.status());
  for (const std::string_view text : kTexts) CheckTokenizer(**tokenizer, text);
}

}  // namespace latentd
