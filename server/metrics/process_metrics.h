// What /proc says about this process, under the names that all Prometheus clients use.
#pragma once

#include <string_view>

namespace latentd {

// 0 where /proc does not tell.
struct ProcessFacts {
  double cpu_seconds = 0.0;
  double start_time_seconds = 0.0;  // since the epoch
  double resident_bytes = 0.0;
  double virtual_bytes = 0.0;
  double num_threads = 0.0;
  double num_open_files = 0.0;
  double max_open_files = 0.0;
};

ProcessFacts ReadProcessFacts();
// Facts from the text of /proc/self/stat; its second field is a name in parentheses that may hold anything.
// `boot_seconds` is when the machine started.
ProcessFacts ParseProcessStat(std::string_view stat, double boot_seconds);

}  // namespace latentd
