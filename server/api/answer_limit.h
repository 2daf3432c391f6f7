// How large an answer in one message may become, known before any work on it: gRPC's clients take 4 MiB unless they are
// told otherwise, and drop a larger one after all of it was computed and sent. Pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include <absl/status/statusor.h>

#include "engine/text/tokenizer/tokenizer.h"
#include "server/api/request_validation.h"

namespace latentd {

// What a client is taken to accept that says nothing: the default of gRPC's libraries.
inline constexpr size_t kDefaultAnswerBytes = size_t{4} << 20;
// Metadata in which a client says how large a message it takes, as a decimal number of bytes.
inline constexpr char kAcceptedBytesKey[] = "latentd-max-answer-bytes";

// INVALID_ARGUMENT where that metadata is no number.
absl::StatusOr<size_t> ParseAcceptedBytes(std::string_view text);

// Bytes of the ScoreResult or the GenerateResult at most, without generated text and token bytes: a token's text is
// small beside its log-probabilities.
size_t MostAnswerBytes(const ValidRequest& valid, uint32_t vocab_size);

// Bytes of a TokenizeResult.
size_t TokenizeResultBytes(size_t rendered_bytes, std::span<const int32_t> ids, const Tokenizer& tokenizer);
// Bytes of a DetokenizeResult, where every byte is UTF-8: a part that is not takes no less once it is U+FFFD.
size_t LeastDetokenizeResultBytes(std::span<const int32_t> ids, SpecialText special_text, const Tokenizer& tokenizer);

}  // namespace latentd
