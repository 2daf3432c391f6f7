#include "engine/stream/publisher.h"

#include <string>
#include <utility>

#include "base/check.h"

namespace latentd {
namespace {

void Add(AnswerParts parts, StreamChunk& chunk) {
  chunk.text += parts.content;
  chunk.reasoning += parts.reasoning;
  AppendFragments(std::move(parts.tool_calls), chunk.tool_calls);
}

}  // namespace

StreamOpening OpeningOf(const Request& request, std::shared_ptr<TokenStream> stream) {
  return {.id = request.id,
          .kind = request.kind,
          .stopping = request.stopping,
          .answer = request.answer,
          .num_sequences = request.num_sequences,
          .stream = std::move(stream)};
}

Publisher::Publisher(const Tokenizer* tokenizer, Metrics& metrics)
    : tokenizer_(tokenizer),
      format_(tokenizer == nullptr ? AnswerFormat{} : FindAnswerFormat(*tokenizer)),
      metrics_(metrics) {}

void Publisher::Open(StreamOpening opening) {
  // Stop strings are worked on once: there may be kilobytes of them, and 64 answers.
  const OpenAnswer answer{.text = StreamText(tokenizer_, format_, opening.stopping, opening.answer)};
  OpenStream open{.kind = opening.kind,
                  .include_stop = opening.stopping.include_stop,
                  .stream = std::move(opening.stream),
                  .answers = std::vector<OpenAnswer>(static_cast<size_t>(opening.num_sequences), answer)};
  CHECK(streams_.emplace(opening.id, std::move(open)).second);
}

void Publisher::Publish(std::span<StepOutput> steps, Effects& effects) {
  Batch batch{.ready = {}, .effects = effects};
  batch.ready.reserve(steps.empty() ? 0 : steps.size() * steps.front().sequences.size());
  for (StepOutput& step : steps) MakeReady(step, batch);
  // Before a reader can see an end: what a finished request got is counted by then.
  metrics_.Update([&](MetricsData& data) {
    data.generated_tokens_delivered += batch.num_delivered;
    data.generated_tokens_discarded += batch.num_discarded;
  });
  for (Ready& ready : batch.ready) {
    const bool is_end = ready.chunk.end.has_value();
    const bool has_room = ready.stream->Append(std::move(ready.chunk));
    if (is_end) {
      effects.ended.push_back(ready.id);
      streams_.erase(ready.id);
    } else if (!has_room) {
      effects.pause.push_back({.id = ready.id, .stream = std::move(ready.stream)});
    }
  }
}

Publisher::OpenStream* Publisher::Find(RequestId id) {
  const auto found = streams_.find(id);
  return found == streams_.end() ? nullptr : &found->second;
}

Publisher::OpenAnswer& Publisher::AnswerOf(SequenceId id, OpenStream& open) {
  CHECK(id.index >= 0 && id.index < std::ssize(open.answers));
  return open.answers[static_cast<size_t>(id.index)];
}

// An end closes the chunk of its step's tokens, where there are some.
void Publisher::MakeReady(StepOutput& step, Batch& batch) {
  for (const SequenceEnd& end : step.ends) {
    if (OpenStream* open = Find(end.id.request)) AnswerOf(end.id, *open).end = end;
  }
  for (const SequenceOutput& output : step.sequences) {
    OpenStream* const open = Find(output.id.request);
    if (open == nullptr) continue;
    OpenAnswer& answer = AnswerOf(output.id, *open);
    Part part{.id = output.id,
              .tokens = step.TokensOf(output),
              .cached_tokens = output.cached_tokens,
              .end = std::exchange(answer.end, std::nullopt)};
    // An answer begins with one token, however many the step gave.
    if (open->kind == RequestKind::kGenerate && answer.num_tokens == 0 && part.tokens.size() > 1) {
      AddPart({.id = output.id, .tokens = part.tokens.first(1), .cached_tokens = part.cached_tokens, .end = {}}, *open,
              batch);
      part.tokens = part.tokens.subspan(1);
    }
    AddPart(std::move(part), *open, batch);
  }
  for (const SequenceEnd& end : step.ends) {
    OpenStream* const open = Find(end.id.request);
    if (open == nullptr || !AnswerOf(end.id, *open).end) continue;
    AddPart({.id = end.id, .tokens = {}, .end = std::exchange(AnswerOf(end.id, *open).end, std::nullopt)}, *open,
            batch);
  }
}

void Publisher::AddPart(Part part, OpenStream& open, Batch& batch) {
  const StreamText& text = AnswerOf(part.id, open).text;
  const bool was_stopped = text.stopped();
  StreamChunk chunk = MakeChunk(part, open, batch);
  // The end follows once the engine let go of the sequence, so that it never outlives its stream.
  if (!chunk.answer_end && text.stopped() && !was_stopped) batch.effects.cancel.push_back(part.id);
  if (!chunk.answer_end && chunk.tokens.empty()) return;
  batch.ready.push_back({.id = part.id.request, .stream = open.stream, .chunk = std::move(chunk)});
}

StreamChunk Publisher::MakeChunk(Part& part, OpenStream& open, Batch& batch) const {
  OpenAnswer& answer = AnswerOf(part.id, open);
  StreamChunk chunk{.index = part.id.index};
  chunk.tokens.reserve(part.tokens.size());
  // Once one answer failed the request has, and the others say no more.
  const bool is_over = !IsSuccess(open.end.reason);
  for (size_t i = 0; i < part.tokens.size(); ++i) {
    if (is_over || answer.text.stopped()) {
      ++batch.num_discarded;
      continue;
    }
    if (open.kind == RequestKind::kGenerate) {
      ++batch.num_delivered;
      Add(PartsOf(part, i, open), chunk);
    }
    ++answer.num_tokens;
    chunk.tokens.push_back(MakeToken(part.tokens[i]));
  }
  chunk.tokens_so_far = answer.num_tokens;
  chunk.cached_tokens = part.cached_tokens;
  if (!part.end) return chunk;
  if (!is_over) Add(answer.text.Finish(), chunk);
  AddEnd(*part.end, open, chunk);
  return chunk;
}

void Publisher::AddEnd(const SequenceEnd& end, OpenStream& open, StreamChunk& chunk) {
  const OpenAnswer& answer = AnswerOf(end.id, open);
  AnswerEnd& told = chunk.answer_end.emplace();
  told = {.reason = end.reason,
          .stop_token_id = end.stop_token_id,
          .output_tokens = open.kind == RequestKind::kGenerate ? answer.num_tokens : 0,
          .reasoning_tokens = answer.text.reasoning_tokens()};
  if (answer.text.stopped()) {
    told.reason = FinishReason::kStopString;
    told.stop_string = answer.text.stop_string();
  }
  open.end.Add(end, told);
  if (++open.num_ended == std::ssize(open.answers)) chunk.end = open.end;
}

AnswerParts Publisher::PartsOf(const Part& part, size_t token, OpenStream& open) {
  StreamText& text = AnswerOf(part.id, open).text;
  const int32_t id = part.tokens[token].id;
  const bool is_last = part.end && token + 1 == part.tokens.size();
  if (is_last && part.end->reason == FinishReason::kEos) return {};
  if (!is_last || part.end->reason != FinishReason::kStopToken) return text.Append(id);
  return open.include_stop ? text.AppendStopToken(id) : AnswerParts();
}

StreamToken Publisher::MakeToken(SampleResult& result) const {
  return {.id = result.id,
          .bytes = tokenizer_ == nullptr ? std::string() : std::string(tokenizer_->TokenBytes(result.id)),
          .logprob = result.logprob,
          .sampled_logprob = result.sampled_logprob,
          .top = std::move(result.top)};
}

}  // namespace latentd
