// Prints a stream of events as it comes, further continuations behind the first, and measures it from the client's
// side. Reasoning is dim on a terminal, between <think> and </think> elsewhere; each tool call has a line of its own.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include <grpcpp/support/sync_stream.h>

#include "latentd/v1/generation.pb.h"
#include "tools/latentctl/common_options.h"

namespace latentd {

class AnswerPrinter {
 public:
  explicit AnswerPrinter(const CommonOptions& options);

  void Read(grpc::ClientReader<v1::GenerateEvent>& reader);
  const std::string& text() const { return text_; }  // of the first continuation
  void PrintStats() const;

 private:
  using Clock = std::chrono::steady_clock;

  enum class Part : uint8_t { kNone, kReasoning, kText, kToolCall };

  void Print(const v1::GenerateEvent& event);
  void Measure(const v1::Delta& delta);
  void PrintDelta(const v1::Delta& delta);
  void TurnTo(Part part);

  const CommonOptions& options_;
  const std::string_view reasoning_begin_, reasoning_end_;
  const Clock::time_point started_ = Clock::now();
  std::optional<Clock::time_point> first_token_;
  Clock::time_point last_token_;
  std::string text_;
  std::map<uint32_t, std::string> others_;        // texts of further continuations, printed behind the first
  std::map<uint32_t, uint32_t> tokens_by_index_;  // so far
  Part part_ = Part::kNone;                       // that was printed last
  uint32_t first_tokens_ = 0;                     // that came together with the first one
  uint32_t num_tokens_ = 0;
};

std::string ToJson(const google::protobuf::Message& message);

}  // namespace latentd
