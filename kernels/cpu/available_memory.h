// How much memory this process may still take, as far as the kernel and the container tell.
#pragma once

#include <cstddef>
#include <filesystem>

namespace latentd::cpu {

// The least of MemAvailable and what the cgroups (v1 or v2, with their parents) leave; page cache counts as free.
// SIZE_MAX where nobody tells. `root` stands before /proc and /sys, for tests.
size_t AvailableMemory(const std::filesystem::path& root = "/");

}  // namespace latentd::cpu
