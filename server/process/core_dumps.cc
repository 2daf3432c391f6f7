#include "server/process/core_dumps.h"

#include <fstream>

#include <sys/resource.h>

namespace latentd {

void SetCoreDumps(CoreDumps core_dumps) {
  rlimit limit{};
  if (getrlimit(RLIMIT_CORE, &limit) == 0) {
    limit.rlim_cur = core_dumps == CoreDumps::kOn ? limit.rlim_max : 0;
    setrlimit(RLIMIT_CORE, &limit);
  }
  // Not PR_SET_DUMPABLE: it would also take /proc/self from a daemon that is not root, and with it its own metrics.
  if (core_dumps == CoreDumps::kOff) std::ofstream("/proc/self/coredump_filter") << "0";
}

}  // namespace latentd
