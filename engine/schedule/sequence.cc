#include "engine/schedule/sequence.h"

#include <utility>

namespace latentd {

Sequence::Sequence(std::shared_ptr<RequestRun> run_in, int32_t index_in, const CapacityDemand& most_in)
    : run(std::move(run_in)),
      request(run->request),
      index(index_in),
      most(most_in),
      num_prompt_tokens(run->num_prompt_tokens),
      timings{.received = request.received} {}

}  // namespace latentd
