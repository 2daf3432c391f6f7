// Finds stop strings in text that comes in chunks, and holds back what may be the start of one. One per stream, one
// thread. The stop string that is complete first wins, so no token after it is ever needed; of several that are
// complete with the same character the longest wins, of equal ones the first in the list. How the text is cut into
// chunks makes no difference. A copy goes on from the same place and shares the strings with all that is made of them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/text/tokenizer/byte_trie.h"

namespace latentd {

// Whether the text ends before the stop string or behind it.
enum class StopText : uint8_t { kExclude, kInclude };

class StopMatcher {
 public:
  struct Output {
    std::string text;            // now final, follows on the text before
    std::optional<size_t> stop;  // index of the stop string found: the text ends here
  };

  // Empty stop strings are passed over.
  StopMatcher(std::span<const std::string> stops, StopText stop_text);

  // Once a stop string is found, nothing more comes out.
  Output Append(std::string_view chunk);
  // The same for text that cannot stop. A stop string that ends in it is passed over; one that begins in it is not.
  std::string Pass(std::string_view chunk);
  // The stream has ended without a stop string: the text that was held back.
  std::string Flush();

  // By the index that Output has.
  const std::string& stop(size_t index) const { return automaton_->stops[index]; }

 private:
  // Aho and Corasick's: each node stands for the longest suffix of the text that begins a stop string, so the text held
  // back is the node's own.
  struct Automaton {
    explicit Automaton(std::span<const std::string> stop_strings);

    void Link();
    uint32_t Next(uint32_t node, char byte) const;

    const std::vector<std::string> stops;
    ByteTrie trie;
    std::vector<size_t> stop_with;                 // per node: a stop string that begins with the node's text
    std::vector<uint32_t> shorter;                 // per node: the next longest suffix that begins a stop string
    std::vector<std::optional<size_t>> stop_here;  // per node: the longest stop string that the node's text ends in
  };

  std::string_view Held() const;
  std::string MoveTo(uint32_t node, std::string_view chunk);
  Output Stop(std::string_view chunk, size_t consumed, size_t stop);

  std::shared_ptr<const Automaton> automaton_;
  StopText stop_text_;
  uint32_t node_ = ByteTrie::kRoot;
  std::optional<size_t> found_;
};

}  // namespace latentd
