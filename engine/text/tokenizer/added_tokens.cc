#include "engine/text/tokenizer/added_tokens.h"

#include <algorithm>
#include <iterator>

#include "base/utf8.h"
#include "engine/text/tokenizer/code_point_set.h"

namespace latentd {
namespace {

bool IsWhiteSpace(uint32_t code_point) {
  static const CodePointSet kWhiteSpace = CodePointSet::OfClass("White_Space");
  return kWhiteSpace.Contains(code_point);
}

// No: what counts nothing by its place, such as ² and ½.
constexpr CodePointRange kOtherNumbers[] = {
    {0xB2, 0xB3},       {0xB9, 0xB9},       {0xBC, 0xBE},       {0x9F4, 0x9F9},     {0xB72, 0xB77},
    {0xBF0, 0xBF2},     {0xC78, 0xC7E},     {0xD58, 0xD5E},     {0xD70, 0xD78},     {0xF2A, 0xF33},
    {0x1369, 0x137C},   {0x17F0, 0x17F9},   {0x19DA, 0x19DA},   {0x2070, 0x2070},   {0x2074, 0x2079},
    {0x2080, 0x2089},   {0x2150, 0x215F},   {0x2189, 0x2189},   {0x2460, 0x249B},   {0x24EA, 0x24FF},
    {0x2776, 0x2793},   {0x2CFD, 0x2CFD},   {0x3192, 0x3195},   {0x3220, 0x3229},   {0x3248, 0x324F},
    {0x3251, 0x325F},   {0x3280, 0x3289},   {0x32B1, 0x32BF},   {0xA830, 0xA835},   {0x10107, 0x10133},
    {0x10175, 0x10178}, {0x1018A, 0x1018B}, {0x102E1, 0x102FB}, {0x10320, 0x10323}, {0x10858, 0x1085F},
    {0x10879, 0x1087F}, {0x108A7, 0x108AF}, {0x108FB, 0x108FF}, {0x10916, 0x1091B}, {0x109BC, 0x109BD},
    {0x109C0, 0x109CF}, {0x109D2, 0x109FF}, {0x10A40, 0x10A48}, {0x10A7D, 0x10A7E}, {0x10A9D, 0x10A9F},
    {0x10AEB, 0x10AEF}, {0x10B58, 0x10B5F}, {0x10B78, 0x10B7F}, {0x10BA9, 0x10BAF}, {0x10CFA, 0x10CFF},
    {0x10E60, 0x10E7E}, {0x10F1D, 0x10F26}, {0x10F51, 0x10F54}, {0x10FC5, 0x10FCB}, {0x11052, 0x11065},
    {0x111E1, 0x111F4}, {0x1173A, 0x1173B}, {0x118EA, 0x118F2}, {0x11C5A, 0x11C6C}, {0x11FC0, 0x11FD4},
    {0x16B5B, 0x16B61}, {0x16E80, 0x16E96}, {0x1D2C0, 0x1D2D3}, {0x1D2E0, 0x1D2F3}, {0x1D360, 0x1D378},
    {0x1E8C7, 0x1E8CF}, {0x1EC71, 0x1ECAB}, {0x1ECAD, 0x1ECAF}, {0x1ECB1, 0x1ECB4}, {0x1ED01, 0x1ED2D},
    {0x1ED2F, 0x1ED3D}, {0x1F100, 0x1F10C},
};

// Alphabetic symbols, connectors and joiners.
constexpr CodePointRange kOtherWordCharacters[] = {
    {'_', '_'},       {0x200C, 0x200D}, {0x203F, 0x2040},   {0x2054, 0x2054},   {0x24B6, 0x24E9},   {0xFE33, 0xFE34},
    {0xFE4D, 0xFE4F}, {0xFF3F, 0xFF3F}, {0x1F130, 0x1F149}, {0x1F150, 0x1F169}, {0x1F170, 0x1F189},
};

// \w as the regex library of Hugging Face's tokenizers has it.
bool IsWordCharacter(uint32_t code_point) {
  static const CodePointSet kOthers({std::begin(kOtherWordCharacters), std::end(kOtherWordCharacters)});
  static const CodePointSet kNoPart({std::begin(kOtherNumbers), std::end(kOtherNumbers)});
  static const CodePointSet kWord = CodePointSet::OfClass("L")
                                        .Union(CodePointSet::OfClass("M"))
                                        .Union(CodePointSet::OfClass("N").Intersection(kNoPart.Complement()))
                                        .Union(kOthers);
  return kWord.Contains(code_point);
}

Utf8Unit LastCharacter(std::string_view text) {
  size_t begin = text.size() - 1;
  while (begin > 0 && (static_cast<uint8_t>(text[begin]) & 0xC0) == 0x80) --begin;
  return NextUtf8Unit(text.substr(begin));
}

bool StandsAlone(std::string_view before, std::string_view after) {
  return (before.empty() || !IsWordCharacter(LastCharacter(before).code_point)) &&
         (after.empty() || !IsWordCharacter(NextUtf8Unit(after).code_point));
}

size_t TrailingWhiteSpace(std::string_view text) {
  const size_t size = text.size();
  while (!text.empty()) {
    const Utf8Unit last = LastCharacter(text);
    if (!IsWhiteSpace(last.code_point)) break;
    text.remove_suffix(last.length);
  }
  return size - text.size();
}

size_t LeadingWhiteSpace(std::string_view text) {
  const size_t size = text.size();
  while (!text.empty()) {
    const Utf8Unit first = NextUtf8Unit(text);
    if (!IsWhiteSpace(first.code_point)) break;
    text.remove_prefix(first.length);
  }
  return size - text.size();
}

}  // namespace

AddedTokenFinder::AddedTokenFinder(const std::vector<AddedToken>& tokens) {
  for (const AddedToken& token : tokens) {
    (token.normalized ? normalized_ : literal_).Add(token);
    takes_white_space_ = takes_white_space_ || token.lstrip || token.rstrip;
  }
}

std::vector<AddedTokenFinder::Match> AddedTokenFinder::Find(std::string_view text,
                                                            std::span<const Range> ranges) const {
  std::vector<Match> literal;
  literal_.Find(text, {0, text.size()}, ranges, literal);
  std::vector<Match> matches;
  size_t covered = 0;
  for (const Match& match : literal) {
    normalized_.Find(text, {covered, match.begin}, ranges, matches);
    matches.push_back(match);
    covered = match.end;
  }
  normalized_.Find(text, {covered, text.size()}, ranges, matches);
  return matches;
}

void AddedTokenFinder::Pass::Add(const AddedToken& token) {
  token_at_node_[trie_.Insert(token.content)] = tokens_.size();
  is_first_byte_[static_cast<uint8_t>(token.content[0])] = true;
  tokens_.push_back(token);
}

const AddedToken* AddedTokenFinder::Pass::LongestAt(std::string_view text) const {
  const AddedToken* longest = nullptr;
  uint32_t node = ByteTrie::kRoot;
  for (const char byte : text) {
    node = trie_.Child(node, byte);
    if (node == ByteTrie::kNone) break;
    const auto found = token_at_node_.find(node);
    if (found != token_at_node_.end()) longest = &tokens_[found->second];
  }
  return longest;
}

void AddedTokenFinder::Pass::Find(std::string_view text, Range within, std::span<const Range> ranges,
                                  std::vector<Match>& matches) const {
  if (tokens_.empty()) return;
  size_t covered = within.begin;
  auto range = std::lower_bound(ranges.begin(), ranges.end(), within.begin,
                                [](const Range& candidate, size_t position) { return candidate.end <= position; });
  for (size_t at = within.begin; range != ranges.end() && at < within.end;) {
    if (at >= range->end) {
      ++range;
      continue;
    }
    at = std::max(at, range->begin);
    const size_t end = std::min(within.end, range->end);
    if (at >= end) break;
    const AddedToken* token =
        is_first_byte_[static_cast<uint8_t>(text[at])] ? LongestAt(text.substr(at, end - at)) : nullptr;
    if (token == nullptr) {
      ++at;
      continue;
    }
    Match match{at, at + token->content.size(), token->id};
    const std::string_view before = text.substr(covered, at - covered);
    const std::string_view after = text.substr(match.end, within.end - match.end);
    at = match.end;
    const std::string_view words_before = text.substr(within.begin, match.begin - within.begin);
    if (token->is_text || (token->single_word && !StandsAlone(words_before, after))) continue;
    if (token->lstrip) match.begin -= TrailingWhiteSpace(before);
    if (token->rstrip) match.end += LeadingWhiteSpace(after);
    matches.push_back(match);
    covered = at = match.end;
  }
}

}  // namespace latentd
