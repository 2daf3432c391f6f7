// VllmEngine.Generate's answers: token ids, without text. Streamed, a chunk follows each part of an answer and a
// complete one its end; else one complete answer for each index follows the last end.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/api/rendering.h"
#include "smg/vllm_engine.pb.h"

namespace latentd {

class GenerateResponses final : public Rendering {
 public:
  enum class Delivery : uint8_t { kChunks, kHeld };

  // Once, before the request is admitted; by the thread that admits it.
  void Choose(Delivery delivery, int num_answers);

  void Start(const StartedFacts& facts, std::vector<std::string>& messages) override;
  void Add(const StreamChunk& chunk, std::vector<std::string>& messages) override;
  void End(const StreamEnd& end, std::vector<std::string>& messages) override;
  std::optional<std::string_view> SizingFields() const override;
  int num_held_messages() const override { return num_answers_; }

 private:
  using Complete = vllm::grpc::engine::GenerateComplete;

  void AddChunk(const StreamChunk& chunk, std::vector<std::string>& messages) const;
  static void Finish(const AnswerEnd& end, Complete& answer);

  Delivery delivery_ = Delivery::kChunks;
  int num_answers_ = 1;
  bool has_logprobs_ = false;
  uint32_t prompt_tokens_ = 0;
  uint32_t cached_tokens_ = 0;
  std::vector<Complete> answers_;  // by index, as far as they have come
};

}  // namespace latentd
