#include "engine/text/added_tokens.h"

#include <algorithm>

#include "engine/text/code_point_set.h"
#include "engine/text/utf8.h"

namespace latentd {
namespace {

bool IsWhiteSpace(uint32_t code_point) {
  static const CodePointSet kWhiteSpace = CodePointSet::OfClass("White_Space");
  return kWhiteSpace.Contains(code_point);
}

// Nearly \w: our tables lack the few symbols that count as alphabetic, and know no difference among numbers.
bool IsWordCharacter(uint32_t code_point) {
  static const CodePointSet kWord = CodePointSet::OfClass("L")
                                        .Union(CodePointSet::OfClass("M"))
                                        .Union(CodePointSet::OfClass("N"))
                                        .Union(CodePointSet({{'_', '_'}}));
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
  for (const AddedToken& token : tokens) (token.normalized ? normalized_ : literal_).Add(token);
}

std::vector<AddedTokenFinder::Match> AddedTokenFinder::Find(std::string_view text) const {
  std::vector<Match> literal;
  literal_.Find(text, 0, text.size(), literal);
  std::vector<Match> matches;
  size_t covered = 0;
  for (const Match& match : literal) {
    normalized_.Find(text, covered, match.begin, matches);
    matches.push_back(match);
    covered = match.end;
  }
  normalized_.Find(text, covered, text.size(), matches);
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

// Text outside of [begin, end) is as if it were not there.
void AddedTokenFinder::Pass::Find(std::string_view text, size_t begin, size_t end, std::vector<Match>& matches) const {
  if (tokens_.empty()) return;
  size_t covered = begin;
  for (size_t at = begin; at < end;) {
    const AddedToken* token =
        is_first_byte_[static_cast<uint8_t>(text[at])] ? LongestAt(text.substr(at, end - at)) : nullptr;
    if (token == nullptr) {
      ++at;
      continue;
    }
    Match match{at, at + token->content.size(), token->id};
    const std::string_view before = text.substr(covered, at - covered);
    const std::string_view after = text.substr(match.end, end - match.end);
    at = match.end;
    if (token->single_word && !StandsAlone(text.substr(begin, match.begin - begin), after)) continue;
    if (token->lstrip) match.begin -= TrailingWhiteSpace(before);
    if (token->rstrip) match.end += LeadingWhiteSpace(after);
    matches.push_back(match);
    covered = at = match.end;
  }
}

}  // namespace latentd
