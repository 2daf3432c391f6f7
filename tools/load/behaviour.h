// How a request behaves towards the server: most behave well, and a load may have adversaries among them.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include <absl/status/statusor.h>

namespace latentd {

enum class Behaviour : uint8_t {
  kWell,
  kCancelQueued,   // once it was admitted
  kCancelPrefill,  // once it started, before its first token
  kCancelDecode,   // after some tokens
  kRpcDeadline,
  kServerTimeout,
  kSlowReader,     // pauses before each read
  kStalledReader,  // reads once, then nothing until it cancels
  kMalformed,
  kOversize,
  kDuplicateId,  // all have one request id
};

constexpr bool ReadsPromptly(Behaviour behaviour) {
  return behaviour != Behaviour::kSlowReader && behaviour != Behaviour::kStalledReader;
}

const char* NameOf(Behaviour behaviour);

struct BehaviourShare {
  Behaviour behaviour = Behaviour::kWell;
  double share = 0.0;  // of all requests; shares need not come to 1, the others behave well
};

// "NAME:FRACTION", joined by commas. A group's name - cancel, deadline, reader, request, all - deals its fraction out
// evenly.
absl::StatusOr<std::vector<BehaviourShare>> ParseAdversaries(std::string_view text);

}  // namespace latentd
