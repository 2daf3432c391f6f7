// Every way in which an RPC can end: the (method, code, reason) triples that have a series in the metrics.
#pragma once

#include <vector>

#include "engine/metrics.h"

namespace latentd {

const std::vector<Outcome>& AllOutcomes();
const std::vector<std::string>& AllMethods();

}  // namespace latentd
