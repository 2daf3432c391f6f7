// The system calls of a piece of code and of all threads that it starts, seen from outside: it runs in a child process
// that this one traces (ptrace), which costs a stop for each call and nothing between them.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>

namespace latentd {

struct SystemCalls {
  std::map<uint64_t, int> counts;  // by number
  // The words on which futex(2) was called lie between these.
  uint64_t first_futex = ~uint64_t{0};
  uint64_t last_futex = 0;
  int exit_code = 0;  // of the child: 0 unless `body` ended the process
};

// What is called between BeginCounting and EndCounting, which `body` calls on any of its threads. Nothing where the
// system lets no process be traced.
std::optional<SystemCalls> TraceSystemCalls(const std::function<void()>& body);
void BeginCounting();
void EndCounting();

}  // namespace latentd
