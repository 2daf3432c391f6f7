// How much memory this process may still take, as far as the kernel and the container tell. The one figure that the
// daemon sizes its cache by, that a device refuses by, and that latent-convert reports.
#pragma once

#include <cstddef>
#include <filesystem>

namespace latentd::cpu {

// The least of MemAvailable, what the cgroups (v1 and v2, with all above them; memory.high, too) leave, where page
// cache counts as free, and what RLIMIT_AS leaves of the address space, RLIMIT_DATA of what is written to. SIZE_MAX
// where no limit is known. `root` stands before /proc and /sys, for tests.
size_t AvailableMemory(const std::filesystem::path& root = "/");

}  // namespace latentd::cpu
