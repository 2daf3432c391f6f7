#include "base/check.h"

#include <csignal>
#include <cstdlib>

#include "base/last_act.h"

namespace latentd::internal {

void CheckFailed(const char* file, int line, const std::string& what) {
  std::cerr << file << ":" << line << ": check failed: " << what << std::endl;
  RunLastAct();
  std::signal(SIGABRT, SIG_DFL);  // it has been said why
  std::abort();
}

}  // namespace latentd::internal
