#include "engine/text/tokenizer/listed_tokens.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include <absl/container/flat_hash_map.h>
#include <absl/container/flat_hash_set.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_join.h>

#include "base/quoting.h"

namespace latentd {
namespace {

constexpr size_t kMaxTokenBytes = 1024;
constexpr size_t kMaxNamedTokens = 8;  // in a line

using Kind = ListedToken::Kind;

// In the order in which transformers adds them: those with an id first, then those that are named.
class Lister {
 public:
  Lister(const TokenizerConfig& config, TokenizerFile& file) : config_(config), file_(file) {
    for (size_t i = 0; i < file.added_tokens.size(); ++i) {
      index_.emplace(file.added_tokens[i].content, i);
      taken_.insert(file.added_tokens[i].id);
    }
    for (const ListedToken& listed : config.listed_tokens) {
      if (listed.kind != Kind::kListed) named_.insert(listed.token.content);
    }
  }

  // A line that names those without an id, or nothing.
  std::string Add() {
    AddListed();
    for (const ListedToken& listed : config_.listed_tokens) {
      const std::string& content = listed.token.content;
      const bool is_known = index_.contains(content);
      if (listed.kind == Kind::kListed || (listed.kind == Kind::kText && is_known)) continue;
      if (listed.kind == Kind::kName && with_flags_.contains(content)) continue;
      Apply(listed.token);
    }
    if (without_id_.empty()) return {};
    return absl::StrCat("the tokenizer's configuration names tokens that tokenizer.json does not have, left aside: ",
                        absl::StrJoin(without_id_, ", "));
  }

 private:
  // Without an added_tokens_decoder the tokens of tokenizer.json stand in its place. Named ones among them are special.
  void AddListed() {
    if (!config_.has_decoder) {
      for (AddedToken& token : file_.added_tokens) {
        token.special = token.special || named_.contains(token.content);
        with_flags_.insert(token.content);
      }
    }
    for (const ListedToken& listed : config_.listed_tokens) {
      if (listed.kind != Kind::kListed || !with_flags_.insert(listed.token.content).second) continue;
      AddedToken token = listed.token;
      token.special = token.special || named_.contains(token.content);
      Apply(std::move(token));
    }
  }

  void Apply(AddedToken token) {
    const auto found = index_.find(token.content);
    if (found != index_.end()) return Change(file_.added_tokens[found->second], token);
    if (token.content.empty() || token.content.size() > kMaxTokenBytes) return;
    if (!FindId(token)) {
      const std::string name = QuotedExcerpt(token.content);
      const bool is_new = std::find(without_id_.begin(), without_id_.end(), name) == without_id_.end();
      if (is_new && without_id_.size() < kMaxNamedTokens) without_id_.push_back(name);
      return;
    }
    index_.emplace(token.content, file_.added_tokens.size());
    file_.added_tokens.push_back(std::move(token));
  }

  // As the library of Hugging Face does: the newer flags count, but a special token stays one, and the older one is
  // still searched for where it was.
  static void Change(AddedToken& token, const AddedToken& newer) {
    token.normalized = token.normalized && (token.special || newer.normalized);
    token.special = token.special || newer.special;
    token.single_word = newer.single_word;
    token.lstrip = newer.lstrip;
    token.rstrip = newer.rstrip;
  }

  bool FindId(AddedToken& token) {
    if (ids_.empty()) {
      for (const auto& [text, id] : file_.vocabulary) {
        ids_.emplace(text, id);
        taken_.insert(id);
      }
    }
    const auto found = ids_.find(token.content);
    if (found == ids_.end()) return token.id != TokenizerConfig::kNoId && taken_.insert(token.id).second;
    token.id = found->second;
    return true;
  }

  const TokenizerConfig& config_;
  TokenizerFile& file_;
  absl::flat_hash_map<std::string, size_t> index_;  // of added tokens, by content
  absl::flat_hash_set<std::string> named_;
  absl::flat_hash_set<std::string> with_flags_;          // whose flags a name does not change
  absl::flat_hash_map<absl::string_view, int32_t> ids_;  // of the vocabulary, once it is needed
  absl::flat_hash_set<int32_t> taken_;
  std::vector<std::string> without_id_;
};

}  // namespace

std::string AddListedTokens(const TokenizerConfig& config, TokenizerFile& file) { return Lister(config, file).Add(); }

}  // namespace latentd
