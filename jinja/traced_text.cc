#include "jinja/traced_text.h"

#include <algorithm>
#include <utility>

namespace latentd::jinja {

TracedText TracedText::FromRequest(std::string text) {
  TracedText traced{.text = std::move(text), .from_request = {}};
  if (!traced.text.empty()) traced.from_request.push_back({0, traced.text.size()});
  return traced;
}

void TracedText::AppendPart(const TracedText& source, size_t begin, size_t end) {
  const size_t offset = text.size();
  text.append(source.text, begin, end - begin);
  const auto ends_before = [](const Range& range, size_t position) { return range.end <= position; };
  auto range = std::lower_bound(source.from_request.begin(), source.from_request.end(), begin, ends_before);
  for (; range != source.from_request.end() && range->begin < end; ++range) {
    const Range moved{offset + std::max(range->begin, begin) - begin, offset + std::min(range->end, end) - begin};
    if (!from_request.empty() && from_request.back().end == moved.begin) {
      from_request.back().end = moved.end;
    } else {
      from_request.push_back(moved);
    }
  }
}

}  // namespace latentd::jinja
