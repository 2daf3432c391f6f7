#include "tools/latentctl/answer_printer.h"

#include <algorithm>
#include <iostream>

#include <absl/strings/str_format.h>
#include <google/protobuf/util/json_util.h>
#include <grpcpp/impl/codegen/proto_utils.h>
#include <unistd.h>

namespace latentd {
namespace {

constexpr uint32_t kMaxAnswers = 64;  // to a request

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

// ---------------------------------------------------------------------------------------------------------- one answer

AnswerText::AnswerText()
    : reasoning_begin_(IsTerminal() ? "\x1b[2m" : "<think>"), reasoning_end_(IsTerminal() ? "\x1b[0m" : "</think>") {}

void AnswerText::Add(const v1::Delta& delta, std::ostream& out) {
  // Without a name it goes on with the call before, so that it comes before all else.
  const bool goes_on = !delta.tool_calls().empty() && delta.tool_calls(0).name().empty();
  if (goes_on) out << delta.tool_calls(0).arguments_json_fragment();
  if (!delta.reasoning().empty() && part_ != Part::kReasoning) TurnTo(Part::kReasoning, out);
  out << delta.reasoning();
  if (!delta.text().empty() && part_ != Part::kText) TurnTo(Part::kText, out);
  out << delta.text();
  for (int i = goes_on ? 1 : 0; i < delta.tool_calls_size(); ++i) {
    const v1::ToolCallDelta& call = delta.tool_calls(i);
    TurnTo(Part::kToolCall, out);
    out << call.id() << ": " << call.name() << " " << call.arguments_json_fragment();
  }
  out << std::flush;
}

void AnswerText::End(std::ostream& out) {
  TurnTo(Part::kNone, out);
  out << std::endl;
}

void AnswerText::TurnTo(Part part, std::ostream& out) {
  if (part_ == Part::kReasoning) out << reasoning_end_;
  if (part_ != Part::kNone && part != Part::kNone) out << "\n";
  if (part == Part::kReasoning) out << reasoning_begin_;
  part_ = part;
}

// --------------------------------------------------------------------------------------------------------- the stream

void AnswerPrinter::Read(grpc::ClientReader<v1::GenerateEvent>& reader) {
  v1::GenerateEvent event;
  while (reader.Read(&event)) Print(event);
  if (options_.json) return;
  if (answers_.size() == 1) return answers_.front().printed.End(std::cout);
  for (size_t index = 0; index < answers_.size(); ++index) {
    if (!answers_[index].is_over) PrintWhole(index);  // what there is: the stream was cut short
  }
}

void AnswerPrinter::Print(const v1::GenerateEvent& event) {
  if (event.has_started()) {
    answers_ = std::vector<Answer>(std::clamp(event.started().sampling().n(), 1u, kMaxAnswers));
  }
  const uint32_t index = event.has_delta() ? event.delta().index() : event.sequence_end().index();
  if (index >= answers_.size()) return;
  if (event.has_delta()) Measure(event.delta());
  if (event.has_completed()) usage_ = event.completed().usage();
  if (options_.json) {
    std::cout << ToJson(event) << std::endl;
  } else if (event.has_delta()) {
    PrintDelta(event.delta());
  } else if (event.has_sequence_end() && answers_.size() > 1) {
    PrintWhole(index);
  }
}

void AnswerPrinter::Measure(const v1::Delta& delta) {
  Answer& answer = answers_[delta.index()];
  last_token_ = Clock::now();
  answer.num_tokens = delta.tokens_so_far();
  if (!first_token_) {
    first_token_ = last_token_;
    first_tokens_ = answer.num_tokens;
  }
  answer.text += delta.text();
}

void AnswerPrinter::PrintDelta(const v1::Delta& delta) {
  Answer& answer = answers_[delta.index()];
  if (answers_.size() == 1) return answer.printed.Add(delta, std::cout);
  answer.printed.Add(delta, answer.waiting);
}

void AnswerPrinter::PrintWhole(size_t index) {
  Answer& answer = answers_[index];
  answer.is_over = true;
  answer.printed.End(answer.waiting);
  std::cout << "--- answer " << index << " ---\n" << answer.waiting.str() << std::flush;
}

uint32_t AnswerPrinter::NumTokens() const {
  uint32_t num_tokens = 0;
  for (const Answer& answer : answers_) num_tokens += answer.num_tokens;
  return num_tokens;
}

void AnswerPrinter::PrintStats() const {
  if (!first_token_) {
    std::cerr << "no tokens\n";
    return;
  }
  const double seconds = SecondsOf(last_token_ - *first_token_);
  const uint32_t num_tokens = NumTokens();
  const double rate = seconds > 0.0 ? (num_tokens - first_tokens_) / seconds : 0.0;
  std::string drafts;
  if (usage_.drafted_tokens() > 0) {
    drafts = absl::StrFormat(", %d of %d drafts accepted", usage_.accepted_tokens(), usage_.drafted_tokens());
  }
  std::cerr << absl::StrFormat("%d tokens, %.1f tokens/s, time to first token %.1f ms%s\n", num_tokens, rate,
                               SecondsOf(*first_token_ - started_) * 1e3, drafts);
}

}  // namespace latentd
