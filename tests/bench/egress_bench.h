// One run of the egress benchmark: a server and a client, each a process of its own, so that their CPU can be told
// apart. What they tell each other stands in memory that both map; each field has one writer.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <ctime>

namespace latentd {

inline constexpr int kMaxStreams = 256;
inline constexpr int kMaxTokens = 512;

enum class Writer : uint8_t { kNaive, kLatentd };
enum class Pace : uint8_t { kDecodeLoop, kFreeRunning };

struct EgressCase {
  Writer writer = Writer::kLatentd;
  Pace pace = Pace::kDecodeLoop;
  int streams = 1;
  int connections = 1;
  int tokens = kMaxTokens;  // of each stream
};

struct ServerResult {
  double cpu_seconds = 0.0;         // of the whole process, from the first step with all streams to the client's end
  double engine_cpu_seconds = 0.0;  // of the engine thread, between the end of a step and the start of the next
  double seconds = 0.0;
  int64_t tokens = 0;  // committed in that time
};

struct ClientResult {
  double cpu_seconds = 0.0;
  int64_t messages = 0;
  int64_t tokens = 0;
  double p50_seconds = 0.0;  // from Commit to the arrival of the message that holds the token
  double p99_seconds = 0.0;
};

struct EgressShared {
  ServerResult server;
  ClientResult client;
  // steady_clock at the end of the step that gave the token: when the engine hands it to the publisher.
  std::array<std::array<std::atomic<int64_t>, kMaxTokens>, kMaxStreams> committed_ns;
};

// Ends of two pipes between the processes.
struct EgressPipes {
  int in = -1;
  int out = -1;
};

// Both return once all streams are read to their end. No process runs more than one of them.
void RunEgressServer(const EgressCase& run, EgressPipes pipes, EgressShared& shared);
void RunEgressClient(const EgressCase& run, EgressPipes pipes, EgressShared& shared);

// A prompt of one token: each step gives each stream a token.
inline constexpr uint32_t kBenchPrompt = 7;
// A stream's seed says which one it is; 0 is left out.
constexpr uint64_t SeedOf(int stream) { return static_cast<uint64_t>(stream) + 1; }

inline double CpuSeconds(clockid_t clock) {
  timespec time{};
  clock_gettime(clock, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

}  // namespace latentd
