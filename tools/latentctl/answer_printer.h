// Prints a stream of events as it comes and measures it from the client's side. Reasoning is dim on a terminal, between
// <think> and </think> elsewhere; each tool call has a line of its own. Several answers are printed one by one, each
// under a heading as soon as it is complete.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include <grpcpp/support/sync_stream.h>

#include "latentd/v1/generation.pb.h"
#include "tools/latentctl/common_options.h"

namespace latentd {

// One answer, as it is printed.
class AnswerText {
 public:
  AnswerText();

  void Add(const v1::Delta& delta, std::ostream& out);
  void End(std::ostream& out);

 private:
  enum class Part : uint8_t { kNone, kReasoning, kText, kToolCall };

  void TurnTo(Part part, std::ostream& out);

  std::string_view reasoning_begin_, reasoning_end_;
  Part part_ = Part::kNone;  // that was printed last
};

class AnswerPrinter {
 public:
  explicit AnswerPrinter(const CommonOptions& options) : options_(options) {}

  void Read(grpc::ClientReader<v1::GenerateEvent>& reader);
  // What the first answer says, without reasoning and tool calls.
  const std::string& text() const { return answers_.front().text; }
  void PrintStats() const;

 private:
  using Clock = std::chrono::steady_clock;

  struct Answer {
    AnswerText printed;
    std::ostringstream waiting;  // to be printed, where there are several answers
    std::string text;
    uint32_t num_tokens = 0;
    bool is_over = false;
  };

  void Print(const v1::GenerateEvent& event);
  void Measure(const v1::Delta& delta);
  void PrintDelta(const v1::Delta& delta);
  // One of several.
  void PrintWhole(size_t index);
  uint32_t NumTokens() const;

  const CommonOptions& options_;
  const Clock::time_point started_ = Clock::now();
  std::optional<Clock::time_point> first_token_;
  Clock::time_point last_token_;
  std::vector<Answer> answers_ = std::vector<Answer>(1);  // by index
  v1::Usage usage_;                                       // once it is complete
  uint32_t first_tokens_ = 0;                             // that came together with the first one
};

std::string ToJson(const google::protobuf::Message& message);

}  // namespace latentd
