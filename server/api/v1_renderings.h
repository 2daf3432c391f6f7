// Answers as the messages of generation.proto.
#pragma once

#include "latentd/v1/generation.pb.h"
#include "server/api/rendering.h"

namespace latentd {

// Generate and Chat: a stream of GenerateEvents, those of several answers as they come.
class EventStream final : public Rendering {
 public:
  void Start(const StartedFacts& facts, std::vector<std::string>& messages) override;
  void Add(const StreamChunk& chunk, std::vector<std::string>& messages) override;
  void End(const StreamEnd& end, std::vector<std::string>& messages) override;

 private:
  OutputChoice output_;
};

// GenerateOnce: its answers by index.
class WholeResult final : public Rendering {
 public:
  void Start(const StartedFacts& facts, std::vector<std::string>& messages) override;
  void Add(const StreamChunk& chunk, std::vector<std::string>& messages) override;
  void End(const StreamEnd& end, std::vector<std::string>& messages) override;
  std::optional<std::string_view> SizingFields() const override {
    return "sampling.n, output.logprobs, stopping.max_tokens";
  }

 private:
  v1::SequenceResult* ResultOf(int index);

  OutputChoice output_;
  v1::GenerateResult result_;
};

// Score.
class ScoredPrompt final : public Rendering {
 public:
  void Start(const StartedFacts& facts, std::vector<std::string>& messages) override;
  void Add(const StreamChunk& chunk, std::vector<std::string>& messages) override;
  void End(const StreamEnd& end, std::vector<std::string>& messages) override;
  std::optional<std::string_view> SizingFields() const override { return "top_logprobs"; }

 private:
  v1::ScoreResult result_;
};

}  // namespace latentd
