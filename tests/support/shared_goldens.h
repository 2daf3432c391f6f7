// Goldens of third parties' making stay outside the repository: LATENTD_GOLDENS names their folder, by default the one
// beside the checkout.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <iostream>

namespace latentd {

// The folder of that name under the goldens; it need not exist.
inline std::filesystem::path SharedGoldens(const std::filesystem::path& name) {
  const char* const root = std::getenv("LATENTD_GOLDENS");
  return std::filesystem::path(root == nullptr ? "../shared" : root) / name;
}

// False, with a visible line, where the test has to be skipped.
inline bool AreThere(const std::filesystem::path& goldens) {
  if (std::filesystem::exists(goldens)) return true;
  std::cout << "SKIPPED " << goldens << " is not there; LATENTD_GOLDENS says where the goldens are" << std::endl;
  return false;
}

}  // namespace latentd
