#include "engine/loop/publisher.h"

#include <iterator>
#include <optional>
#include <string>

#include "base/check.h"

namespace latentd {
namespace {

SequenceOutput CutFirstToken(SequenceOutput& output) {
  SequenceOutput first{.id = output.id};
  first.tokens.push_back(std::move(output.tokens.front()));
  output.tokens.erase(output.tokens.begin());
  return first;
}

// The reason if this token ended its sequence.
std::optional<FinishReason> EndedBy(const SequenceOutput& output, size_t token) {
  if (!output.end || token + 1 != output.tokens.size()) return std::nullopt;
  return output.end->reason;
}

void Add(AnswerParts parts, StreamChunk& chunk) {
  chunk.text += parts.content;
  chunk.reasoning += parts.reasoning;
  AppendFragments(std::move(parts.tool_calls), chunk.tool_calls);
}

}  // namespace

Publisher::Publisher(const Tokenizer* tokenizer, Metrics& metrics)
    : tokenizer_(tokenizer),
      format_(tokenizer == nullptr ? AnswerFormat{} : FindAnswerFormat(*tokenizer)),
      metrics_(metrics) {}

void Publisher::Start(Inbox& inbox) {
  CHECK(!thread_.joinable());
  inbox_ = &inbox;
  thread_ = std::thread([this] { Run(); });
}

void Publisher::Stop() {
  outbox_.Close();
  if (thread_.joinable()) thread_.join();
}

void Publisher::Open(const Request& request, std::shared_ptr<TokenStream> stream) {
  OpenStream open{.kind = request.kind,
                  .include_stop = request.stopping.include_stop,
                  .stream = std::move(stream),
                  .text = StreamText(tokenizer_, format_, request)};
  outbox_.Merge([&](Outbox& outbox) { outbox.opened.emplace_back(request.id, std::move(open)); });
}

void Publisher::Publish(StepOutput output) {
  if (output.sequences.empty()) return;
  // Moved as it is: sorting it by stream is not the engine thread's work.
  outbox_.Merge([&](Outbox& outbox) { outbox.steps.push_back(std::move(output)); });
}

bool Publisher::AwaitEnds(uint64_t num_ends, Duration timeout) {
  std::unique_lock lock(ends_mutex_);
  return ends_changed_.wait_for(lock, timeout, [&] { return num_ends_ >= num_ends; });
}

void Publisher::Run() {
  while (std::optional<Outbox> batch = outbox_.Await()) PublishBatch(std::move(*batch));
}

void Publisher::PublishBatch(Outbox batch) {
  for (auto& [id, open] : batch.opened) CHECK(streams_.emplace(id, std::move(open)).second);
  TokenCounts counts;
  std::vector<Ready> ready;
  ready.reserve(batch.steps.empty() ? 0 : batch.steps.size() * batch.steps.front().sequences.size());
  for (StepOutput& step : batch.steps) {
    for (SequenceOutput& output : step.sequences) MakeReady(output, ready, counts);
  }
  // Before anybody can see an end: what a finished request got is counted by then.
  metrics_.Update([&](MetricsData& data) {
    data.generated_tokens_delivered += counts.delivered;
    data.generated_tokens_discarded += counts.discarded;
  });
  uint64_t num_ended = 0;
  for (auto& [id, stream, chunk] : ready) {
    const bool is_end = chunk.end.has_value();
    Append(id, *stream, std::move(chunk));
    if (!is_end) continue;
    streams_.erase(id);
    ++num_ended;
  }
  if (num_ended == 0) return;
  std::lock_guard lock(ends_mutex_);
  num_ends_ += num_ended;
  ends_changed_.notify_all();
}

void Publisher::MakeReady(SequenceOutput& output, std::vector<Ready>& ready, TokenCounts& counts) {
  // A second sequence needs a StreamText and an end of its own in OpenStream, or two answers run into one text.
  CHECK_EQ(output.id.index, 0);
  const auto found = streams_.find(output.id.request);
  if (found == streams_.end()) return;
  OpenStream& open = found->second;
  const auto add = [&](SequenceOutput& part) {
    StreamChunk chunk = MakeChunk(part, open, counts);
    if (!chunk.end && chunk.tokens.empty()) return;
    ready.push_back({.id = part.id.request, .stream = open.stream.get(), .chunk = std::move(chunk)});
  };
  // An answer begins with one token, however many the step gave.
  if (open.kind == RequestKind::kGenerate && open.num_tokens == 0 && output.tokens.size() > 1) {
    SequenceOutput first = CutFirstToken(output);
    add(first);
  }
  add(output);
}

StreamChunk Publisher::MakeChunk(SequenceOutput& output, OpenStream& open, TokenCounts& counts) {
  StreamChunk chunk;
  const bool generates = open.kind == RequestKind::kGenerate;
  const bool was_stopped = open.text.stopped();
  chunk.tokens.reserve(output.tokens.size());
  for (size_t i = 0; i < output.tokens.size(); ++i) {
    if (open.text.stopped()) {
      ++counts.discarded;
      continue;
    }
    if (generates) {
      ++counts.delivered;
      Add(PartsOf(output, i, open), chunk);
    }
    ++open.num_tokens;
    chunk.tokens.push_back(MakeToken(output.tokens[i]));
  }
  chunk.tokens_so_far = open.num_tokens;
  if (output.end) {
    Add(open.text.Finish(), chunk);
    chunk.end = StreamEnd{
        .sequence = *std::move(output.end),
        .answer = {.output_tokens = generates ? open.num_tokens : 0, .reasoning_tokens = open.text.reasoning_tokens()}};
    if (open.text.stopped()) chunk.end->answer.stop_string = open.text.stop_string();
  } else if (open.text.stopped() && !was_stopped) {
    // The end follows once the engine let go of the sequence, so that it never outlives its stream.
    inbox_->Cancel(output.id.request, FinishReason::kCancelled);
  }
  return chunk;
}

AnswerParts Publisher::PartsOf(const SequenceOutput& output, size_t token, OpenStream& open) {
  const int32_t id = output.tokens[token].id;
  const std::optional<FinishReason> ended = EndedBy(output, token);
  if (ended == FinishReason::kEos) return {};
  if (ended != FinishReason::kStopToken) return open.text.Append(id);
  return open.include_stop ? open.text.AppendStopToken(id) : AnswerParts();
}

StreamToken Publisher::MakeToken(SampleResult& result) const {
  return {.id = result.id,
          .bytes = tokenizer_ == nullptr ? std::string() : std::string(tokenizer_->TokenBytes(result.id)),
          .logprob = result.logprob,
          .sampled_logprob = result.sampled_logprob,
          .top = std::move(result.top)};
}

void Publisher::Append(RequestId id, TokenStream& stream, StreamChunk chunk) {
  const bool is_end = chunk.end.has_value();
  if (stream.Append(std::move(chunk)) || is_end) return;
  inbox_->Pause(id);
  // The reader may have taken all before the Pause was sent; its Resume came too early then.
  if (!stream.full()) inbox_->Resume(id);
}

}  // namespace latentd
