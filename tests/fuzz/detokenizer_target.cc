// Ids, also ones that do not exist, out of the bundled model's tokenizer; and any bytes in any chunks.
#include "base/check.h"
#include "base/utf8.h"
#include "tests/fuzz/laws.h"
#include "tests/fuzz/targets.h"

namespace latentd {
namespace {

constexpr int32_t kMissingIds = 8;  // below and above those of the vocabulary

std::vector<int32_t> ReadIds(std::string_view input, int32_t vocab_size) {
  std::vector<int32_t> ids;
  for (size_t at = 0; at + 1 < input.size(); at += 2) {
    const int number = static_cast<uint8_t>(input[at]) << 8 | static_cast<uint8_t>(input[at + 1]);
    ids.push_back(number % (vocab_size + 2 * kMissingIds) - kMissingIds);
  }
  return ids;
}

std::string Repaired(std::string_view bytes) {
  Utf8Repair repair;
  std::string text;
  repair.Append(bytes, text);
  repair.Flush(text);
  return text;
}

// The lowest bits of a chunk's first byte say how long it is.
void CheckRepair(std::string_view bytes) {
  Utf8Repair repair;
  std::string text;
  for (size_t at = 0; at < bytes.size();) {
    const size_t length = 1 + static_cast<uint8_t>(bytes[at]) % 5;
    repair.Append(bytes.substr(at, length), text);
    CHECK(!FindInvalidUtf8(text));
    at += length;
  }
  repair.Flush(text);
  CHECK(!FindInvalidUtf8(text));
  CHECK_EQ(text, Repaired(bytes));
  if (!FindInvalidUtf8(bytes)) CHECK_EQ(text, bytes);
}

}  // namespace

void FuzzDetokenizer(std::string_view input) {
  static const std::unique_ptr<Tokenizer> kTokenizer = *Tokenizer::Load("models/tiny-tales");
  const std::vector<int32_t> ids = ReadIds(input, kTokenizer->vocab_size());
  CheckStream(*kTokenizer, ids, SpecialText::kPrint);
  CheckStream(*kTokenizer, ids, SpecialText::kSkip);
  CheckRepair(input);
}

}  // namespace latentd
