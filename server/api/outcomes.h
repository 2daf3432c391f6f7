// Every way in which an RPC can end: the (method, code, reason) triples that have a series in the metrics.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/metrics.h"
#include "engine/stream/token_stream.h"

namespace latentd {

const std::vector<Outcome>& AllOutcomes();
const std::vector<std::string>& AllMethods();
// Their reasons, each once: the values of the label `outcome`.
const std::vector<std::string>& AllReasons();

// A method whose requests go through the engine: its RPCs begin in phase queued, those of all others in phase output.
bool RunsTheModel(std::string_view method);
// Reasons of requests that the engine had admitted: successes first. Only these have stages and lengths.
const std::vector<std::string>& RunReasons();
// Of those, the ones after which computed tokens served nobody.
const std::vector<std::string>& WasteCauses();
// Reasons for which a valid request is refused before it runs.
const std::vector<std::string>& AdmissionReasons();
bool IsAdmissionReason(std::string_view reason);

// Positions that went through the model in vain: all of a request that failed or was cut off, what was generated past
// the stop string of one that ended with it.
uint64_t WastedTokens(std::string_view reason, const StreamEnd& end);

}  // namespace latentd
