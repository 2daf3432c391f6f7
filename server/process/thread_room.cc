#include "server/process/thread_room.h"

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <mutex>
#include <string>
#include <system_error>
#include <vector>

#include <absl/strings/str_format.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "base/cgroups.h"
#include "base/placement.h"

namespace latentd::cpu {
namespace {

constexpr size_t kFullStackBytes = size_t{8} << 20;    // what systems give unless told otherwise
constexpr size_t kProbeStackBytes = size_t{64} << 10;  // it is the threads that are counted, not their memory

// Address space for libraries, heap and a small model's tables.
constexpr size_t kStartBytes = size_t{64} << 20;

// Those of gRPC, of the metrics server, of the log and our own single ones, at most.
constexpr int64_t kOtherThreads = 32;

struct Gate {
  std::mutex mutex;
  std::condition_variable opened;
  bool is_open = false;
};

void* AwaitOpening(void* argument) {
  auto& gate = *static_cast<Gate*>(argument);
  std::unique_lock lock(gate.mutex);
  gate.opened.wait(lock, [&gate] { return gate.is_open; });
  return nullptr;
}

// The stack of a thread that is started without a size of its own.
size_t DefaultStackBytes() {
  pthread_attr_t attributes;
  size_t num_bytes = kFullStackBytes;
  if (pthread_getattr_default_np(&attributes) != 0) return num_bytes;
  pthread_attr_getstacksize(&attributes, &num_bytes);
  pthread_attr_destroy(&attributes);
  return num_bytes;
}

// SIZE_MAX where there is none.
size_t LimitOf(__rlimit_resource resource) {
  rlimit limit{};
  return getrlimit(resource, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY ? SIZE_MAX : limit.rlim_cur;
}

bool CanMap(size_t num_bytes, int protection) {
  void* const room = mmap(nullptr, num_bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (room == MAP_FAILED) return false;
  munmap(room, num_bytes);
  return true;
}

// "; pids.max of /sys/fs/cgroup/pids/a is 20": where a cgroup says how many there may be.
std::string NearestLimit(const std::filesystem::path& root) {
  std::string text;
  size_t least = SIZE_MAX;
  for (const Cgroup& group : CgroupsOf("pids", root)) {
    const size_t limit = ReadNumber(group.folder / "pids.max").value_or(SIZE_MAX);
    if (limit >= least) continue;
    least = limit;
    text = absl::StrFormat(" (pids.max of %s is %d)", group.folder.string(), limit);
  }
  return text;
}

}  // namespace

void GiveThreadsFullStacks() {
  if (DefaultStackBytes() >= kFullStackBytes) return;
  pthread_attr_t attributes;
  if (pthread_getattr_default_np(&attributes) != 0) return;
  pthread_attr_setstacksize(&attributes, kFullStackBytes);
  pthread_setattr_default_np(&attributes);
  pthread_attr_destroy(&attributes);
}

absl::Status CheckStackRoom(int count) {
  const size_t addresses = LimitOf(RLIMIT_AS);
  const size_t data = LimitOf(RLIMIT_DATA);
  const size_t stack_bytes = DefaultStackBytes();
  const size_t num_bytes = static_cast<size_t>(count) * stack_bytes + kStartBytes;
  if (addresses == SIZE_MAX && data == SIZE_MAX) return absl::OkStatus();
  // Addresses that nothing can be written to do not count as data.
  const bool has_addresses = CanMap(num_bytes, PROT_NONE);
  if (has_addresses && (data == SIZE_MAX || CanMap(num_bytes, PROT_READ | PROT_WRITE))) return absl::OkStatus();
  const bool is_of_data = addresses == SIZE_MAX || (has_addresses && data != SIZE_MAX);
  constexpr int kMiBShift = 20;
  return absl::ResourceExhaustedError(
      absl::StrFormat("expected %d MiB of address space for %d threads with stacks of %d MiB, found a limit of %d MiB "
                      "in all; raise ulimit -%c, or lower --threads and --egress-threads",
                      num_bytes >> kMiBShift, count, stack_bytes >> kMiBShift,
                      (is_of_data ? data : addresses) >> kMiBShift, is_of_data ? 'd' : 'v'));
}

absl::Status CheckThreadRoom(int count, const std::filesystem::path& root) {
  Gate gate;
  std::vector<pthread_t> threads;
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, kProbeStackBytes);
  int error = 0;
  while (error == 0 && static_cast<int>(threads.size()) < count) {
    pthread_t thread{};
    error = pthread_create(&thread, &attributes, AwaitOpening, &gate);
    if (error == 0) threads.push_back(thread);
  }
  pthread_attr_destroy(&attributes);
  {
    const std::lock_guard lock(gate.mutex);
    gate.is_open = true;
  }
  gate.opened.notify_all();
  for (const pthread_t thread : threads) pthread_join(thread, nullptr);
  if (error == 0) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrFormat("expected to start %d threads, the system allows %d: %s%s; raise pids.max or ulimit -u, or lower "
                      "--threads and --egress-threads",
                      count, threads.size(), std::generic_category().message(error), NearestLimit(root)));
}

absl::Status CheckThreads(const Config& config) {
  const absl::StatusOr<Placement> compute = PlaceThreads(config.pin_threads, static_cast<int>(config.threads));
  if (!compute.ok()) return compute.status();
  const int count = static_cast<int>(compute->num_threads + config.egress_threads + kOtherThreads);
  if (absl::Status status = CheckStackRoom(count); !status.ok()) return status;
  return CheckThreadRoom(count);
}

}  // namespace latentd::cpu
