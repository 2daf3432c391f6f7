// Tokenize and Detokenize, which the tokenizer answers alone: no engine, no name. On a thread of the work pool, for an
// ImmediateCall; room for the answer is taken before it is made.
#pragma once

#include <absl/status/statusor.h>

#include "latentd/v1/generation.pb.h"
#include "server/api/message_bytes.h"
#include "server/call/admission.h"
#include "server/call/immediate_call.h"

namespace latentd {

absl::StatusOr<v1::TokenizeResult> AnswerTokenize(const Admission& admission, MessageBytes bytes,
                                                  const ReserveRoom& reserve);
absl::StatusOr<v1::DetokenizeResult> AnswerDetokenize(const Admission& admission, MessageBytes bytes,
                                                      const ReserveRoom& reserve);

}  // namespace latentd
