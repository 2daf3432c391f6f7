#include "server/api/answer_limit.h"

#include <charconv>
#include <string>
#include <string_view>

#include <absl/strings/str_format.h>

#include "engine/model/config/sampling_ranges.h"
#include "server/api/status.h"

namespace latentd {
namespace {

constexpr size_t kEnvelopeBytes = 4096;              // names, timings, usage, resolved parameters
constexpr size_t kAnswerBytes = 64 + kMaxStopBytes;  // of each: index, counts, the stop that matched
constexpr size_t kTagBytes = 1;                      // every field of these messages has a number below 16
constexpr size_t kFloatBytes = kTagBytes + 4;

size_t VarintBytes(uint64_t value) {
  size_t num_bytes = 1;
  while (value >>= 7) ++num_bytes;
  return num_bytes;
}

size_t MessageBytes(size_t content) { return kTagBytes + VarintBytes(content) + content; }

// A TokenLogprobs with its TopTokens.
size_t LogprobBytes(size_t id_bytes, int num_top) {
  const size_t top = MessageBytes(kTagBytes + id_bytes + kFloatBytes);
  return MessageBytes(kTagBytes + id_bytes + 2 * kFloatBytes + static_cast<size_t>(num_top) * top);
}

}  // namespace

absl::StatusOr<size_t> ParseAcceptedBytes(std::string_view text) {
  size_t num_bytes = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), num_bytes);
  if (error == std::errc() && end == text.data() + text.size()) return num_bytes;
  return InvalidField(absl::StrFormat("metadata %s", kAcceptedBytesKey), "expected a whole number of bytes");
}

size_t MostAnswerBytes(const ValidRequest& valid, uint32_t vocab_size) {
  const size_t id_bytes = VarintBytes(vocab_size == 0 ? 0 : vocab_size - 1);
  const Request& request = valid.request;
  if (request.kind == RequestKind::kScore) {
    return kEnvelopeBytes + (request.prompt.size() - 1) * LogprobBytes(id_bytes, request.answer.num_prompt_logprobs);
  }
  size_t of_token = valid.output.token_ids ? id_bytes : 0;
  if (valid.output.logprobs) of_token += LogprobBytes(id_bytes, request.answer.num_top_logprobs);
  const size_t of_answer = kAnswerBytes + static_cast<size_t>(valid.stopping.max_tokens()) * of_token;
  return kEnvelopeBytes + valid.sampling.ByteSizeLong() + valid.stopping.ByteSizeLong() +
         static_cast<size_t>(request.num_sequences) * of_answer;
}

size_t TokenizeResultBytes(size_t rendered_bytes, std::span<const int32_t> ids, const Tokenizer& tokenizer) {
  size_t packed_bytes = 0;
  size_t num_bytes = rendered_bytes == 0 ? 0 : MessageBytes(rendered_bytes);
  for (const int32_t id : ids) {
    packed_bytes += VarintBytes(static_cast<uint64_t>(id));
    num_bytes += MessageBytes(tokenizer.TokenBytes(id).size());
  }
  return num_bytes + (ids.empty() ? 0 : MessageBytes(packed_bytes));
}

size_t LeastDetokenizeResultBytes(std::span<const int32_t> ids, SpecialText special_text, const Tokenizer& tokenizer) {
  size_t text_bytes = 0;
  for (const int32_t id : ids) {
    if (special_text == SpecialText::kPrint || !tokenizer.IsSpecial(id)) text_bytes += tokenizer.TokenBytes(id).size();
  }
  return text_bytes == 0 ? 0 : MessageBytes(text_bytes);
}

}  // namespace latentd
