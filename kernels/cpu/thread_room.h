// Whether the system lets this process start threads at all: a cgroup's pids.max or `ulimit -u` is a line at start, not
// an abort inside a library later.
#pragma once

#include <filesystem>

#include <absl/status/status.h>

namespace latentd::cpu {

// RESOURCE_EXHAUSTED with the system's reason and the nearest limit where `count` more threads cannot run at once.
// Starts and ends them. `root` stands before /proc and /sys, for tests.
absl::Status CheckThreadRoom(int count, const std::filesystem::path& root = "/");

}  // namespace latentd::cpu
