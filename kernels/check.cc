#include "kernels/check.h"

#include <cstdlib>

namespace latentd::internal {

void CheckFailed(const char* file, int line, const std::string& what) {
  std::cerr << file << ":" << line << ": check failed: " << what << std::endl;
  std::abort();
}

}  // namespace latentd::internal
