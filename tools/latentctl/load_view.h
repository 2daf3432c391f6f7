// Reports of the Admin service, as lines for a terminal. Pure functions.
#pragma once

#include <string>
#include <vector>

#include "latentd/v1/admin.pb.h"

namespace latentd {

// "1.21 of 2.04 GB read, 1 s left"
std::string LoadingText(const v1::ModelLoading& loading);

// Queue, phases, tokens per second, cache and latencies.
std::vector<std::string> LoadLines(const v1::Load& load);

// A header and a line per request, oldest first. Ids longer than `id_columns`, at least two, show their end.
std::vector<std::string> RequestLines(const v1::ListRequestsResult& list, int id_columns);

// One block character per value, the highest one full.
std::string Sparkline(const std::vector<double>& values);

// At most so many columns of valid UTF-8 whose characters are one column wide.
std::string CutTo(const std::string& text, int columns);

}  // namespace latentd
