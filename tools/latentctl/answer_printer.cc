#include "tools/latentctl/answer_printer.h"

#include <iostream>
#include <utility>

#include <absl/strings/str_format.h>
#include <google/protobuf/util/json_util.h>
#include <grpcpp/impl/codegen/proto_utils.h>
#include <unistd.h>

namespace latentd {
namespace {

double SecondsOf(std::chrono::steady_clock::duration duration) {
  return std::chrono::duration<double>(duration).count();
}

bool IsTerminal() { return isatty(STDOUT_FILENO) == 1; }

}  // namespace

std::string ToJson(const google::protobuf::Message& message) {
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  std::string json;
  const auto status = google::protobuf::util::MessageToJsonString(message, &json, options);
  return status.ok() ? json : std::string(status.message());
}

AnswerPrinter::AnswerPrinter(const CommonOptions& options)
    : options_(options),
      reasoning_begin_(IsTerminal() ? "\x1b[2m" : "<think>"),
      reasoning_end_(IsTerminal() ? "\x1b[0m" : "</think>") {}

void AnswerPrinter::Read(grpc::ClientReader<v1::GenerateEvent>& reader) {
  v1::GenerateEvent event;
  while (reader.Read(&event)) Print(event);
  if (options_.json) return;
  TurnTo(Part::kNone);
  std::cout << std::endl;
  for (const auto& [index, text] : others_) std::cout << "--- " << index << " ---\n" << text << std::endl;
}

void AnswerPrinter::Print(const v1::GenerateEvent& event) {
  if (event.has_delta()) Measure(event.delta());
  if (options_.json) {
    std::cout << ToJson(event) << std::endl;
  } else if (event.has_delta() && event.delta().index() > 0) {
    others_[event.delta().index()] += event.delta().text();
  } else if (event.has_delta()) {
    PrintDelta(event.delta());
  }
}

void AnswerPrinter::Measure(const v1::Delta& delta) {
  last_token_ = Clock::now();
  uint32_t& of_index = tokens_by_index_[delta.index()];
  num_tokens_ += delta.tokens_so_far() - std::exchange(of_index, delta.tokens_so_far());
  if (!first_token_) {
    first_token_ = last_token_;
    first_tokens_ = num_tokens_;
  }
  if (delta.index() == 0) text_ += delta.text();
}

void AnswerPrinter::PrintDelta(const v1::Delta& delta) {
  // Without a name it goes on with the call before, so that it comes before all else.
  const bool goes_on = !delta.tool_calls().empty() && delta.tool_calls(0).name().empty();
  if (goes_on) std::cout << delta.tool_calls(0).arguments_json_fragment();
  if (!delta.reasoning().empty() && part_ != Part::kReasoning) TurnTo(Part::kReasoning);
  std::cout << delta.reasoning();
  if (!delta.text().empty() && part_ != Part::kText) TurnTo(Part::kText);
  std::cout << delta.text();
  for (int i = goes_on ? 1 : 0; i < delta.tool_calls_size(); ++i) {
    const v1::ToolCallDelta& call = delta.tool_calls(i);
    TurnTo(Part::kToolCall);
    std::cout << call.id() << ": " << call.name() << " " << call.arguments_json_fragment();
  }
  std::cout << std::flush;
}

void AnswerPrinter::TurnTo(Part part) {
  if (part_ == Part::kReasoning) std::cout << reasoning_end_;
  if (part_ != Part::kNone && part != Part::kNone) std::cout << "\n";
  if (part == Part::kReasoning) std::cout << reasoning_begin_;
  part_ = part;
}

void AnswerPrinter::PrintStats() const {
  if (!first_token_) {
    std::cerr << "no tokens\n";
    return;
  }
  const double seconds = SecondsOf(last_token_ - *first_token_);
  const double rate = seconds > 0.0 ? (num_tokens_ - first_tokens_) / seconds : 0.0;
  std::cerr << absl::StrFormat("%d tokens, %.1f tokens/s, time to first token %.1f ms\n", num_tokens_, rate,
                               SecondsOf(*first_token_ - started_) * 1e3);
}

}  // namespace latentd
