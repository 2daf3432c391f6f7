#include "engine/text/listed_tokens.h"

#include <absl/container/flat_hash_map.h>
#include <absl/container/flat_hash_set.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_join.h>

#include "engine/text/quoted_excerpt.h"

namespace latentd {
namespace {

constexpr size_t kMaxTokenBytes = 1024;
constexpr size_t kMaxNamedTokens = 8;  // in a line

}  // namespace

std::string AddListedTokens(const TokenizerConfig& config, TokenizerFile& file) {
  absl::flat_hash_set<std::string> added;
  absl::flat_hash_set<int32_t> taken;
  for (const AddedToken& token : file.added_tokens) {
    added.insert(token.content);
    taken.insert(token.id);
  }
  std::vector<AddedToken> lacking;
  for (const AddedToken& token : config.listed_tokens) {
    if (!token.content.empty() && token.content.size() <= kMaxTokenBytes && added.insert(token.content).second) {
      lacking.push_back(token);
    } else if (!lacking.empty() && token.id != TokenizerConfig::kNoId) {
      // Named before, and now with its id.
      for (AddedToken& other : lacking) {
        if (other.content == token.content) other.id = token.id;
      }
    }
  }
  if (lacking.empty()) return {};

  absl::flat_hash_map<absl::string_view, int32_t> ids;
  for (const auto& [text, id] : file.vocabulary) {
    ids.emplace(text, id);
    taken.insert(id);
  }
  std::vector<std::string> without_id;
  for (AddedToken& token : lacking) {
    const auto found = ids.find(token.content);
    if (found != ids.end()) {
      token.id = found->second;
    } else if (token.id == TokenizerConfig::kNoId || !taken.insert(token.id).second) {
      if (without_id.size() < kMaxNamedTokens) without_id.push_back(QuotedExcerpt(token.content));
      continue;
    }
    file.added_tokens.push_back(std::move(token));
  }
  if (without_id.empty()) return {};
  return absl::StrCat("the tokenizer's configuration names tokens that tokenizer.json does not have, left aside: ",
                      absl::StrJoin(without_id, ", "));
}

}  // namespace latentd
