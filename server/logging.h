// Logs go to stderr through spdlog; what the libraries below would print themselves goes there, too, at level debug, so
// that a start that goes wrong says one line.
#pragma once

#include <string>

namespace latentd {

void StartLogging(const std::string& level);

}  // namespace latentd
