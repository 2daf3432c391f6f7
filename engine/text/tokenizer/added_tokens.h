// Finds added tokens, such as control tokens, in text before it is split. Constant after construction.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/text/tokenizer/byte_trie.h"

namespace latentd {

struct AddedToken {
  int32_t id = 0;
  std::string content;  // literal text, not in the byte alphabet; never empty
  bool special = false;
  bool normalized = false;   // searched only in what the others leave
  bool single_word = false;  // not between word characters
  bool lstrip = false;       // takes the white space before it
  bool rstrip = false;       // takes the white space behind it
  bool is_text = false;      // is found and stays the text that it is
  bool operator==(const AddedToken&) const = default;
};

class AddedTokenFinder {
 public:
  struct Match {
    size_t begin = 0;
    size_t end = 0;
    int32_t id = 0;
  };

  struct Range {
    size_t begin = 0;
    size_t end = 0;
  };

  explicit AddedTokenFinder(const std::vector<AddedToken>& tokens);

  // Whether any of them takes the white space around it.
  bool takes_white_space() const { return takes_white_space_; }

  // In order, not overlapping: the leftmost, the longest of those that begin there. A token counts only where all of
  // it stands within one of the ranges, which are in order and apart from each other; the white space that it takes,
  // and the words that it may not touch, are the text's. `text` must be valid UTF-8.
  std::vector<Match> Find(std::string_view text, std::span<const Range> ranges) const;
  std::vector<Match> Find(std::string_view text) const {
    const Range whole{0, text.size()};
    return Find(text, {&whole, 1});
  }

 private:
  // Tokens that are searched for together.
  class Pass {
   public:
    void Add(const AddedToken& token);
    // Looks at [within.begin, within.end) alone: text outside of it is as if it were not there.
    void Find(std::string_view text, Range within, std::span<const Range> ranges, std::vector<Match>& matches) const;

   private:
    const AddedToken* LongestAt(std::string_view text) const;

    ByteTrie trie_;
    std::vector<AddedToken> tokens_;
    absl::flat_hash_map<uint32_t, size_t> token_at_node_;
    std::array<bool, 256> is_first_byte_{};
  };

  Pass literal_, normalized_;
  bool takes_white_space_ = false;
};

}  // namespace latentd
