#include "engine/schedule/sequence.h"

#include <utility>

namespace latentd {

Sequence::Sequence(Request request_in, const CapacityDemand& most, uint64_t arrival)
    : request(std::move(request_in)),
      most(most),
      num_prompt_tokens(static_cast<int>(request.prompt.size())),
      arrival(arrival),
      tokens(std::move(request.prompt)),
      timings{.received = request.received} {}

}  // namespace latentd
