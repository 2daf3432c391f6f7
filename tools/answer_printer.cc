#include "tools/answer_printer.h"

#include <iostream>

#include <absl/strings/str_format.h>
#include <google/protobuf/util/json_util.h>
#include <grpcpp/impl/codegen/proto_utils.h>

namespace latentd {
namespace {

double SecondsOf(std::chrono::steady_clock::duration duration) {
  return std::chrono::duration<double>(duration).count();
}

}  // namespace

std::string ToJson(const google::protobuf::Message& message) {
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  std::string json;
  const auto status = google::protobuf::util::MessageToJsonString(message, &json, options);
  return status.ok() ? json : std::string(status.message());
}

void AnswerPrinter::Read(grpc::ClientReader<v1::GenerateEvent>& reader) {
  v1::GenerateEvent event;
  while (reader.Read(&event)) Print(event);
  if (!options_.json) std::cout << std::endl;
}

void AnswerPrinter::Print(const v1::GenerateEvent& event) {
  if (event.has_delta()) {
    last_token_ = Clock::now();
    num_tokens_ = event.delta().tokens_so_far();
    if (!first_token_) {
      first_token_ = last_token_;
      first_tokens_ = num_tokens_;
    }
    text_ += event.delta().text();
  }
  if (options_.json) {
    std::cout << ToJson(event) << std::endl;
  } else if (event.has_delta()) {
    std::cout << event.delta().text() << std::flush;
  }
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
