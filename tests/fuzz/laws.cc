#include "tests/fuzz/laws.h"

#include "base/check.h"
#include "base/utf8.h"
#include "engine/text/answer/detokenizer.h"

namespace latentd {
namespace {

void CheckEncoding(const Tokenizer& tokenizer, std::string_view text, SpecialTokens special_tokens) {
  const absl::StatusOr<std::vector<int32_t>> ids = tokenizer.Encode(text, special_tokens);
  if (!ids.ok()) {
    // A pattern of the file backtracks too much.
    CHECK(absl::IsResourceExhausted(ids.status()));
    return CheckRefusal(ids.status());
  }
  for (const int32_t id : *ids) CHECK(tokenizer.HasToken(id));
  CHECK(*tokenizer.Encode(text, special_tokens) == *ids);
  CheckStream(tokenizer, *ids, SpecialText::kPrint);
  CheckStream(tokenizer, *ids, SpecialText::kSkip);
  if (special_tokens == SpecialTokens::kRecognize) return;

  const absl::StatusOr<Pieces> pieces = tokenizer.pre_tokenizer().Split(text);
  std::string joined;
  for (const std::string_view piece : pieces->views) {
    CHECK(!piece.empty());
    joined += piece;
  }
  if (joined == text) CHECK_EQ(tokenizer.Decode(*ids, SpecialText::kPrint), text);
}

}  // namespace

const TemporaryDirectory& InputDirectory() {
  static const TemporaryDirectory directory;
  return directory;
}

std::pair<std::string_view, std::string_view> SplitAtNul(std::string_view input, std::string_view otherwise) {
  const size_t nul = input.find('\0');
  if (nul == std::string_view::npos) return {input, otherwise};
  return {input.substr(0, nul), input.substr(nul + 1)};
}

std::string Replaced(std::string_view text, std::string_view mark, std::string_view replacement) {
  std::string out;
  for (size_t at = text.find(mark); at != std::string_view::npos; at = text.find(mark)) {
    out.append(text.substr(0, at)).append(replacement);
    text.remove_prefix(at + mark.size());
  }
  return out.append(text);
}

void CheckRefusal(const absl::Status& status) {
  constexpr size_t kMaxBytes = 1500;
  CHECK(!status.ok());
  CHECK(!status.message().empty());
  CHECK_LT(status.message().size(), kMaxBytes);
  CHECK(status.message().find('\n') == absl::string_view::npos);
}

void CheckTokenizer(const Tokenizer& tokenizer, std::string_view text) {
  CheckEncoding(tokenizer, text, SpecialTokens::kAsText);
  CheckEncoding(tokenizer, text, SpecialTokens::kRecognize);
}

void CheckStream(const Tokenizer& tokenizer, std::span<const int32_t> ids, SpecialText special_text) {
  Detokenizer detokenizer(tokenizer, special_text);
  std::string streamed;
  for (const int32_t id : ids) {
    const std::string chunk = detokenizer.Append(id);
    CHECK(!FindInvalidUtf8(chunk));
    streamed += chunk;
  }
  streamed += detokenizer.Flush();
  CHECK(!FindInvalidUtf8(streamed));
  CHECK_EQ(streamed, tokenizer.Decode(ids, special_text));
}

}  // namespace latentd
