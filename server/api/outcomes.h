// Every way in which an RPC can end: the (method, code, reason) triples that have a series in the metrics, and the
// metrics' lists of names, all from the tables of causes and methods. Made at the first use; any thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/metrics.h"
#include "engine/stream/token_stream.h"
#include "server/api/causes.h"

namespace latentd {

const std::vector<Outcome>& AllOutcomes();
const std::vector<std::string>& AllMethods();
// Their codes and reasons, each once, sorted.
const std::vector<std::string>& AllCodes();
const std::vector<std::string>& AllReasons();

// The rest in the order of the causes.
// Reasons of requests that the engine had admitted, whose stages and waste have series.
const std::vector<std::string>& RunReasons();
// The ones after which computed tokens count as wasted.
const std::vector<std::string>& WasteCauses();
// Reasons for which a valid request is refused before it runs.
const std::vector<std::string>& AdmissionReasons();

// Positions that went through the model in vain, and the cause that they count for.
struct WastedTokens {
  Cause cause;
  uint64_t count = 0;
};
// A success wastes what was generated past its answers' stop strings, which counts for these whatever its own cause is.
WastedTokens WasteOf(Cause cause, const StreamEnd& end);

}  // namespace latentd
