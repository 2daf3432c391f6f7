// Warnings about listeners that other machines can reach. Pure functions.
#pragma once

#include <string>
#include <vector>

#include "server/start/port_file.h"

namespace latentd {

// One line for each listener beyond loopback, the gravest first.
std::vector<std::string> ExposureWarnings(const BoundAddresses& bound);

}  // namespace latentd
