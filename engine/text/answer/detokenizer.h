// Token ids -> text as they come: the text of one stream's tokens, in whole characters. One per stream, one thread.
#pragma once

#include <cstdint>
#include <string>

#include "base/utf8.h"
#include "engine/text/tokenizer/tokenizer.h"

namespace latentd {

class Detokenizer {
 public:
  // `tokenizer` must outlive the detokenizer.
  Detokenizer(const Tokenizer& tokenizer, SpecialText special_text)
      : tokenizer_(tokenizer), special_text_(special_text) {}

  // The text that `id` makes final: valid UTF-8, whole characters. All texts and the Flush together are what
  // Tokenizer::Decode gives for all ids.
  std::string Append(int32_t id);
  // The stream has ended: the rest of an unfinished character.
  std::string Flush();

 private:
  const Tokenizer& tokenizer_;
  const SpecialText special_text_;
  Utf8Repair repair_;
};

}  // namespace latentd
