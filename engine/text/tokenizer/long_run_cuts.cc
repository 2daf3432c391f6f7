#include "engine/text/tokenizer/long_run_cuts.h"

#include "base/utf8.h"
#include "engine/text/tokenizer/code_point_set.h"

namespace latentd {
namespace {

constexpr size_t kMaxCharacters = 400'000;
constexpr size_t kMaxRun = 25'000;

// Python's str.isspace.
bool IsBlank(uint32_t code_point) {
  static const CodePointSet kBlank = CodePointSet::OfClass("White_Space").Union(CodePointSet({{0x1C, 0x1F}}));
  return kBlank.Contains(code_point);
}

}  // namespace

std::vector<size_t> LongRunCuts(std::string_view text) {
  if (text.size() <= kMaxRun) return {text.size()};
  std::vector<size_t> ends;
  size_t num_characters = 0, run = 0;
  bool run_is_blank = false;
  for (size_t at = 0; at < text.size(); ++num_characters) {
    const Utf8Unit unit = NextUtf8Unit(text.substr(at));
    const bool blank = IsBlank(unit.code_point);
    const bool new_part = num_characters > 0 && num_characters % kMaxCharacters == 0;
    run = new_part || blank != run_is_blank ? 1 : run + 1;
    run_is_blank = blank;
    if (new_part || run > kMaxRun) {
      ends.push_back(at);
      run = 1;
    }
    at += unit.length;
  }
  ends.push_back(text.size());
  return ends;
}

}  // namespace latentd
