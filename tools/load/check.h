// Correctness under load: the client's records are held against the grammar of a stream, against the same requests sent
// alone, and against the server's own accounts.
#pragma once

#include <string>
#include <vector>

#include "latentd/v1/generation.grpc.pb.h"
#include "tools/load/runner.h"
#include "tools/load/summary.h"
#include "tools/load/workload.h"

namespace latentd {

enum class Verdict { kPassed, kFailed, kSkipped };

struct CheckOutcome {
  std::string name;
  Verdict verdict = Verdict::kPassed;
  std::string detail;  // expected and found
};

CheckOutcome CheckGrammar(const Summary& summary);

// Sends at most `max_requests` of the requests again, alone, one at a time: whole answers must be the same bytes, those
// of requests that were cut short must begin the quiet answer. A seeded sample where there are more.
CheckOutcome CheckQuietRun(v1::Generation::Stub& stub, const Workload& workload, const std::vector<KeptOutput>& outputs,
                           int max_requests);

}  // namespace latentd
