// What the parts of one request's answers are in bytes: one rendering for each format that a front end speaks. A
// rendering belongs to one request. Start is called first, once; Add once for each chunk; End last, and only after a
// success.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/stream/token_stream.h"
#include "server/api/events.h"

namespace latentd {

class Rendering {
 public:
  virtual ~Rendering() = default;

  // Each appends the messages that are complete by then, if any.
  virtual void Start(const StartedFacts& facts, std::vector<std::string>& messages) = 0;
  virtual void Add(const StreamChunk& chunk, std::vector<std::string>& messages) = 0;
  virtual void End(const StreamEnd& end, std::vector<std::string>& messages) = 0;

  // For answers that are held until End appends them: the fields of the request that decide their size. None: messages
  // follow the chunks. Known once the request was admitted.
  virtual std::optional<std::string_view> SizingFields() const { return std::nullopt; }
  // How many messages End appends to these.
  virtual int num_held_messages() const { return 1; }
};

}  // namespace latentd
