// Prints a stream of events as it comes and measures it from the client's side.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include <grpcpp/support/sync_stream.h>

#include "latentd/v1/generation.pb.h"
#include "tools/commands.h"

namespace latentd {

class AnswerPrinter {
 public:
  explicit AnswerPrinter(const CommonOptions& options) : options_(options) {}

  void Read(grpc::ClientReader<v1::GenerateEvent>& reader);
  const std::string& text() const { return text_; }
  void PrintStats() const;

 private:
  using Clock = std::chrono::steady_clock;

  void Print(const v1::GenerateEvent& event);

  const CommonOptions& options_;
  const Clock::time_point started_ = Clock::now();
  std::optional<Clock::time_point> first_token_;
  Clock::time_point last_token_;
  std::string text_;
  uint32_t first_tokens_ = 0;  // that came together with the first one
  uint32_t num_tokens_ = 0;
};

std::string ToJson(const google::protobuf::Message& message);

}  // namespace latentd
