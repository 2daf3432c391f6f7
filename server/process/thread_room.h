// Whether the system lets this process start threads at all, and with how much stack: a cgroup's pids.max, `ulimit -u`
// and `ulimit -s` are a line at start or make no difference, and are no abort inside a library later.
#pragma once

#include <filesystem>

#include <absl/status/status.h>

#include "server/config/config.h"

namespace latentd::cpu {

// Threads from here on, those of libraries too, get as much stack as the code was written for where `ulimit -s` would
// give them less.
void GiveThreadsFullStacks();

// RESOURCE_EXHAUSTED with the limit to raise where `ulimit -v` or `ulimit -d` leaves no room for the stacks of `count`
// more threads and for the memory that any start takes. Without it, what comes too late for a message of ours would
// fail: a thread inside a library, or an allocation that a library takes for granted.
absl::Status CheckStackRoom(int count);

// RESOURCE_EXHAUSTED with the system's reason and the nearest limit where `count` more threads cannot run at once.
// Starts and ends them. `root` stands before /proc and /sys, for tests.
absl::Status CheckThreadRoom(int count, const std::filesystem::path& root = "/");

// Both, for all threads that a daemon of this configuration has, and whether its compute threads can be placed.
absl::Status CheckThreads(const Config& config);

}  // namespace latentd::cpu
