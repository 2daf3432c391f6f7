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
          .stream = std::move(stream)};
}

Publisher::Publisher(const Tokenizer* tokenizer, Metrics& metrics)
    : tokenizer_(tokenizer),
      format_(tokenizer == nullptr ? AnswerFormat{} : FindAnswerFormat(*tokenizer)),
      metrics_(metrics) {}

void Publisher::Open(StreamOpening opening) {
  OpenStream open{.kind = opening.kind,
                  .include_stop = opening.stopping.include_stop,
                  .stream = std::move(opening.stream),
                  .text = StreamText(tokenizer_, format_, opening.stopping, opening.answer)};
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

// An end closes the chunk of its step's tokens, where there are some.
void Publisher::MakeReady(StepOutput& step, Batch& batch) {
  for (SequenceEnd& end : step.ends) {
    CHECK(end.id.index == 0 && "the first end would close the stream of all of the request's sequences");
    const auto found = streams_.find(end.id.request);
    if (found != streams_.end()) found->second.end = std::move(end);
  }
  for (SequenceOutput& output : step.sequences) {
    CHECK(output.id.index == 0 && "two answers would run into one text: OpenStream needs a StreamText for each");
    const RequestId id = output.id.request;
    const auto found = streams_.find(id);
    if (found == streams_.end()) continue;
    OpenStream& open = found->second;
    Part part{.tokens = step.TokensOf(output),
              .cached_tokens = output.cached_tokens,
              .end = std::exchange(open.end, std::nullopt)};
    // An answer begins with one token, however many the step gave.
    if (open.kind == RequestKind::kGenerate && open.num_tokens == 0 && part.tokens.size() > 1) {
      AddPart(id, {.tokens = part.tokens.first(1), .cached_tokens = part.cached_tokens, .end = {}}, open, batch);
      part.tokens = part.tokens.subspan(1);
    }
    AddPart(id, std::move(part), open, batch);
  }
  for (const SequenceEnd& end : step.ends) {
    const auto found = streams_.find(end.id.request);
    if (found == streams_.end() || !found->second.end) continue;
    OpenStream& open = found->second;
    AddPart(found->first, {.tokens = {}, .end = std::exchange(open.end, std::nullopt)}, open, batch);
  }
}

void Publisher::AddPart(RequestId id, Part part, OpenStream& open, Batch& batch) {
  const bool was_stopped = open.text.stopped();
  StreamChunk chunk = MakeChunk(part, open, batch);
  // The end follows once the engine let go of the sequence, so that it never outlives its stream.
  if (!chunk.end && open.text.stopped() && !was_stopped) batch.effects.cancel.push_back(id);
  if (!chunk.end && chunk.tokens.empty()) return;
  batch.ready.push_back({.id = id, .stream = open.stream, .chunk = std::move(chunk)});
}

StreamChunk Publisher::MakeChunk(Part& part, OpenStream& open, Batch& batch) const {
  StreamChunk chunk;
  chunk.tokens.reserve(part.tokens.size());
  for (size_t i = 0; i < part.tokens.size(); ++i) {
    if (open.text.stopped()) {
      ++batch.num_discarded;
      continue;
    }
    if (open.kind == RequestKind::kGenerate) {
      ++batch.num_delivered;
      Add(PartsOf(part, i, open), chunk);
    }
    ++open.num_tokens;
    chunk.tokens.push_back(MakeToken(part.tokens[i]));
  }
  chunk.tokens_so_far = open.num_tokens;
  chunk.cached_tokens = part.cached_tokens;
  if (part.end) {
    Add(open.text.Finish(), chunk);
    chunk.end = EndOf(*std::move(part.end), open);
  }
  return chunk;
}

StreamEnd Publisher::EndOf(SequenceEnd end, const OpenStream& open) const {
  StreamEnd both{.sequence = std::move(end),
                 .answer = {.output_tokens = open.kind == RequestKind::kGenerate ? open.num_tokens : 0,
                            .reasoning_tokens = open.text.reasoning_tokens()}};
  if (open.text.stopped()) both.answer.stop_string = open.text.stop_string();
  return both;
}

AnswerParts Publisher::PartsOf(const Part& part, size_t token, OpenStream& open) {
  const int32_t id = part.tokens[token].id;
  const bool is_last = part.end && token + 1 == part.tokens.size();
  if (is_last && part.end->reason == FinishReason::kEos) return {};
  if (!is_last || part.end->reason != FinishReason::kStopToken) return open.text.Append(id);
  return open.include_stop ? open.text.AppendStopToken(id) : AnswerParts();
}

StreamToken Publisher::MakeToken(SampleResult& result) const {
  return {.id = result.id,
          .bytes = tokenizer_ == nullptr ? std::string() : std::string(tokenizer_->TokenBytes(result.id)),
          .logprob = result.logprob,
          .sampled_logprob = result.sampled_logprob,
          .top = std::move(result.top)};
}

}  // namespace latentd
