// The stations of all RPCs on their way in and out: the intake, the work pool, the budget of answers. The Admin service
// has an intake and a budget of its own, so that its operator gets through whatever the API's clients do. Owned by
// Serve(); outlives every server and every egress.
#pragma once

#include <cstddef>

#include "engine/metrics.h"
#include "server/call/byte_budget.h"
#include "server/call/egress.h"
#include "server/call/intake.h"
#include "server/call/work_pool.h"
#include "server/config/config.h"
#include "server/grpc/rpc.h"
#include "server/traces/span_queue.h"

namespace latentd {

// Bytes for messages on their way in, and as many for answers on their way out: max-buffered-bytes, or an eighth of the
// memory that this process may still take, within 16 MiB and 1 GiB.
size_t BufferBytes(const Config& config, size_t available_memory);

class Reception {
 public:
  // All but `config` must outlive it. Without an authority none is asked; without `spans`, those of the API's calls, no
  // traces are made.
  Reception(const Config& config, Metrics& metrics, Authority* authority = nullptr, SpanQueue* spans = nullptr);

  size_t max_bytes() const { return answers_.max_bytes(); }  // for the API's answers
  CallParts PartsWith(Egress& egress) {
    return {.intake = intake_,
            .pool = pool_,
            .answers = answers_,
            .egress = egress,
            .metrics = metrics_,
            .entrance = {authority_, AccessPoint::kApi},
            .spans = spans_};
  }
  CallParts AdminsPartsWith(Egress& egress) {
    return {.intake = admins_intake_,
            .pool = pool_,
            .answers = admins_answers_,
            .egress = egress,
            .metrics = metrics_,
            .entrance = {authority_, AccessPoint::kAdmin}};
  }

 private:
  Metrics& metrics_;
  Authority* const authority_;
  SpanQueue* const spans_;
  Intake intake_;
  ByteBudget answers_;
  Intake admins_intake_;
  ByteBudget admins_answers_;
  WorkPool pool_;
};

}  // namespace latentd
