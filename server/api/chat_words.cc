#include "server/api/chat_words.h"

#include <algorithm>

namespace latentd {

bool HasContent(const v1::ChatMessage& message) {
  const auto& parts = message.content_parts();
  return !message.content().empty() ||
         std::any_of(parts.begin(), parts.end(), [](const v1::ContentPart& part) { return !part.text().empty(); });
}

}  // namespace latentd
