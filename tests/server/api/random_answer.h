// Answers as a model might write them, well-formed and not, and as a client sends them back.
#pragma once

#include <iterator>
#include <random>
#include <string>
#include <utility>

#include "engine/text/answer/answer_parser.h"
#include "latentd/v1/generation.pb.h"

namespace latentd {

inline v1::ChatMessage MessageOf(const AnswerParts& answer) {
  v1::ChatMessage message;
  message.set_role("assistant");
  message.set_content(answer.content);
  if (!answer.reasoning.empty()) message.set_reasoning(answer.reasoning);
  for (const ToolCallFragment& fragment : answer.tool_calls) {
    v1::ToolCall& call = *message.add_tool_calls();
    call.set_id(fragment.id);
    call.set_name(fragment.name);
    call.set_arguments_json(fragment.arguments);
  }
  return message;
}

inline AnswerParts RandomAnswer(std::mt19937& random, ToolCallSyntax syntax) {
  static const std::pair<AnswerMarker, const char*> kMarkers[] = {
      {AnswerMarker::kReasoningBegin, "<think>"},
      {AnswerMarker::kReasoningEnd, "</think>"},
      {AnswerMarker::kSectionBegin, "<｜tool▁calls▁begin｜>"},
      {AnswerMarker::kCallBegin, "<｜tool▁call▁begin｜>"},
      {AnswerMarker::kSeparator, "<｜tool▁sep｜>"},
      {AnswerMarker::kCallEnd, "<｜tool▁call▁end｜>"},
      {AnswerMarker::kSectionEnd, "<｜tool▁calls▁end｜>"}};
  static const char* const kTexts[] = {
      "f",    "function", "functions.look:0", "\n```json\n", "{\"a\": \"é\"}", "{", "```",
      "🦊", " ",        "<think>",          "<｜User｜>",  "null",           "}", "\\\""};
  const AnswerStart start = random() % 2 == 0 ? AnswerStart::kContent : AnswerStart::kReasoning;
  AnswerParser parser({.reasoning = {}, .tool_calls = ToolCallMarkers{.syntax = syntax}}, start, 3);
  AnswerParts answer;
  const auto call = [&](const char* header, const char* arguments) {
    parser.AppendMarker(AnswerMarker::kCallBegin, "<｜tool▁call▁begin｜>", answer);
    parser.AppendText(header, answer);
    parser.AppendMarker(AnswerMarker::kSeparator, "<｜tool▁sep｜>", answer);
    parser.AppendText(arguments, answer);
    if (random() % 4 != 0) parser.AppendMarker(AnswerMarker::kCallEnd, "<｜tool▁call▁end｜>", answer);
  };
  for (size_t n = random() % 12; n > 0; --n) {
    const size_t choice = random() % 10;
    if (choice < 3) {
      call(kTexts[random() % 3], kTexts[random() % std::size(kTexts)]);
    } else if (choice < 6) {
      const auto& [marker, text] = kMarkers[random() % std::size(kMarkers)];
      parser.AppendMarker(marker, text, answer);
    } else {
      parser.AppendText(kTexts[random() % std::size(kTexts)], answer);
    }
  }
  parser.Finish(answer);
  return answer;
}

}  // namespace latentd
