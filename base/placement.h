// Which processor each compute thread stays on. Files of /proc and /sys and the scheduler's calls only; any thread.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include <absl/status/status.h>
#include <absl/status/statusor.h>

namespace latentd::cpu {

// "0-3,8": numbers and ranges, in this order, each processor once. INVALID_ARGUMENT otherwise.
absl::StatusOr<std::vector<int>> ParseProcessors(std::string_view text);
// The same from a list: "0-3,8".
std::string ProcessorsText(const std::vector<int>& processors);

// INVALID_ARGUMENT where it is none of "auto", "on", "off" and a list of processors.
absl::Status CheckPinning(std::string_view pinning);

struct Placement {
  int num_threads = 1;
  std::vector<int> processors;  // of each thread; empty: the kernel places them
};

// `num_asked` threads, or where that is 0 one for each processor of a list, else what the machine grants.
//   on    a processor for each, whole cores before second threads of cores, neighbours in a row
//   auto  on where the machine has several NUMA nodes and a thread for each allowed processor, else off
// INVALID_ARGUMENT where there are fewer processors than threads, or the affinity does not allow one of the list.
// `root` stands before /sys, for tests.
absl::StatusOr<Placement> PlaceThreads(std::string_view pinning, int num_asked,
                                       const std::filesystem::path& root = "/");

// Does nothing where the affinity no longer allows it.
void PinThisThread(int processor);

}  // namespace latentd::cpu
