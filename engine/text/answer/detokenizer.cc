#include "engine/text/answer/detokenizer.h"

namespace latentd {

std::string Detokenizer::Append(int32_t id) {
  std::string text;
  if (special_text_ == SpecialText::kPrint || !tokenizer_.IsSpecial(id)) {
    repair_.Append(tokenizer_.TokenBytes(id), text);
  }
  return text;
}

std::string Detokenizer::Flush() {
  std::string text;
  repair_.Flush(text);
  return text;
}

}  // namespace latentd
