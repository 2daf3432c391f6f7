// Egress: the server's CPU per token and per message, and how long a token is under way from Commit to its client,
// beside a writer that gives each token a write of its own, measured in the same run. Usage: egress_bench [streams …]
//
// The CPU is all that the server's process used, kernel included, from the first step with all streams until the client
// has read them to their end. "engine" is the share of the engine thread between the end of a step and the start of the
// next: metrics, publishing, inbox. The delay is read by the client's thread that gets the message; server and client
// share this machine's cores. Each line is the best of three runs, which take turns with those it is compared with.
#include "tests/bench/egress_bench.h"

#include <algorithm>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <new>
#include <thread>
#include <vector>

#include <netinet/in.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"

namespace latentd {
namespace {

constexpr int kPacedTokens = 300;  // 1.5 s of steps of 5 ms
constexpr int kRuns = 3;

EgressShared& MapShared() {
  void* memory = mmap(nullptr, sizeof(EgressShared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHECK(memory != MAP_FAILED);
  return *new (memory) EgressShared;
}

// gRPC must not have been started before a fork, so this process never does.
template <class Body>
pid_t Fork(const Body& body) {
  std::fflush(stdout);
  const pid_t child = fork();
  CHECK_GE(child, 0);
  if (child != 0) return child;
  body();
  std::_Exit(0);
}

void Await(pid_t child) {
  int status = 0;
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK_EQ(status, 0);
}

struct Measured {
  ServerResult server;
  ClientResult client;
};

Measured Run(const EgressCase& run) {
  EgressShared& shared = MapShared();
  int to_client[2], to_server[2];
  CHECK_EQ(pipe(to_client), 0);
  CHECK_EQ(pipe(to_server), 0);
  const pid_t server = Fork([&] { RunEgressServer(run, {.in = to_server[0], .out = to_client[1]}, shared); });
  const pid_t client = Fork([&] { RunEgressClient(run, {.in = to_client[0], .out = to_server[1]}, shared); });
  Await(client);
  Await(server);
  for (const int file : {to_client[0], to_client[1], to_server[0], to_server[1]}) close(file);
  const Measured measured{.server = shared.server, .client = shared.client};
  CHECK_EQ(measured.client.tokens, static_cast<int64_t>(run.streams) * run.tokens);
  munmap(&shared, sizeof shared);
  return measured;
}

double CpuPerToken(const Measured& measured) {
  return 1e6 * measured.server.cpu_seconds / static_cast<double>(measured.server.tokens);
}

void Print(const EgressCase& run, const Measured& measured) {
  const auto tokens = static_cast<double>(measured.server.tokens);
  const double per_message =
      static_cast<double>(measured.client.tokens) / static_cast<double>(measured.client.messages);
  std::printf("%-7s %-7s %7d %6d %9.0f %8.2f %9.2f %9.2f %8.2f %9.2f %9.2f",
              run.pace == Pace::kDecodeLoop ? "5 ms" : "free", run.writer == Writer::kNaive ? "naive" : "latentd",
              run.streams, run.connections, tokens / measured.server.seconds, per_message, CpuPerToken(measured),
              CpuPerToken(measured) * per_message, 1e6 * measured.server.engine_cpu_seconds / tokens,
              1e3 * measured.client.p50_seconds, 1e3 * measured.client.p99_seconds);
}

// The less CPU, and the shorter delay: other work on the machine only adds to both.
void KeepBest(const Measured& measured, Measured* best) {
  const bool is_first = best->server.tokens == 0;
  const ClientResult delays = best->client;
  if (is_first || CpuPerToken(measured) < CpuPerToken(*best)) *best = measured;
  if (is_first) return;
  best->client.p50_seconds = std::min(delays.p50_seconds, measured.client.p50_seconds);
  best->client.p99_seconds = std::min(delays.p99_seconds, measured.client.p99_seconds);
}

void Compare(Pace pace, int streams, int connections) {
  const int tokens = pace == Pace::kDecodeLoop ? kPacedTokens : kMaxTokens;
  const EgressCase naive{
      .writer = Writer::kNaive, .pace = pace, .streams = streams, .connections = connections, .tokens = tokens};
  EgressCase ours = naive;
  ours.writer = Writer::kLatentd;
  Measured of_naive, of_ours;
  for (int run = 0; run < kRuns; ++run) {
    KeepBest(Run(naive), &of_naive);
    KeepBest(Run(ours), &of_ours);
  }
  Print(naive, of_naive);
  std::printf("\n");
  Print(ours, of_ours);
  std::printf(" %7.2fx %6.2fx\n", CpuPerToken(of_naive) / CpuPerToken(of_ours),
              of_ours.client.p99_seconds / of_naive.client.p99_seconds);
}

// A message of some bytes through a loopback socket, sent and received by one thread: no thread is woken.
double SocketRoundSeconds() {
  const int listener = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{.sin_family = AF_INET, .sin_port = 0, .sin_addr = {htonl(INADDR_LOOPBACK)}, .sin_zero = {}};
  socklen_t size = sizeof address;
  CHECK_EQ(bind(listener, reinterpret_cast<sockaddr*>(&address), size), 0);
  CHECK_EQ(listen(listener, 1), 0);
  CHECK_EQ(getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size), 0);
  const int sender = socket(AF_INET, SOCK_STREAM, 0);
  CHECK_EQ(connect(sender, reinterpret_cast<sockaddr*>(&address), size), 0);
  const int receiver = accept(listener, nullptr, nullptr);
  constexpr int kTimes = 20'000;
  char message[32] = {};
  const double begin = CpuSeconds(CLOCK_THREAD_CPUTIME_ID);
  for (int i = 0; i < kTimes; ++i) {
    CHECK_EQ(send(sender, message, sizeof message, 0), static_cast<ssize_t>(sizeof message));
    CHECK_EQ(recv(receiver, message, sizeof message, MSG_WAITALL), static_cast<ssize_t>(sizeof message));
  }
  const double seconds = (CpuSeconds(CLOCK_THREAD_CPUTIME_ID) - begin) / kTimes;
  for (const int file : {listener, sender, receiver}) close(file);
  return seconds;
}

// One thread wakes another, which sleeps again: the CPU of both.
double WakeUpSeconds() {
  constexpr int kTimes = 10'000;
  std::mutex mutex;
  std::condition_variable changed;
  int turn = 0;
  const auto play = [&](int parity) {
    std::unique_lock lock(mutex);
    while (turn < 2 * kTimes) {
      if (turn % 2 == parity) {
        ++turn;
        changed.notify_one();
      }
      changed.wait(lock, [&] { return turn % 2 == parity || turn >= 2 * kTimes; });
    }
    changed.notify_one();
  };
  const double begin = CpuSeconds(CLOCK_PROCESS_CPUTIME_ID);
  std::thread other(play, 1);
  play(0);
  other.join();
  return (CpuSeconds(CLOCK_PROCESS_CPUTIME_ID) - begin) / (2 * kTimes);
}

}  // namespace
}  // namespace latentd

int main(int argc, char** argv) {
  using namespace latentd;
  std::vector<int> counts;
  for (int i = 1; i < argc; ++i) counts.push_back(std::atoi(argv[i]));
  if (counts.empty()) counts = {1, 16, 64, 256};
  std::printf("machine: %.2f us per send and recv on a loopback socket, %.2f us per wake-up of a thread\n",
              1e6 * SocketRoundSeconds(), 1e6 * WakeUpSeconds());
  std::printf("%-7s %-7s %7s %6s %9s %8s %9s %9s %8s %9s %9s %8s %7s\n", "step", "writer", "streams", "conns",
              "tokens/s", "tok/msg", "us/token", "us/msg", "engine", "p50 ms", "p99 ms", "CPU gain", "p99");
  for (const Pace pace : {Pace::kDecodeLoop, Pace::kFreeRunning}) {
    for (const int streams : counts) {
      Compare(pace, streams, 1);
      if (streams > 1) Compare(pace, streams, streams);
    }
  }
  return 0;
}
