#include "base/check.h"

#include <csignal>
#include <cstdlib>

namespace latentd::internal {

void CheckFailed(const char* file, int line, const std::string& what) {
  std::cerr << file << ":" << line << ": check failed: " << what << std::endl;
  std::signal(SIGABRT, SIG_DFL);  // it has been said why
  std::abort();
}

}  // namespace latentd::internal
