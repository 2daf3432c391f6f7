// The grammar of a stream, checked event by event: one Started; for each answer Deltas in order, then one SequenceEnd;
// one Completed, then OK.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "latentd/v1/generation.pb.h"

namespace latentd {

class StreamGrammar {
 public:
  explicit StreamGrammar(uint32_t num_answers = 1) : answers_(num_answers) {}

  void Check(const v1::GenerateEvent& event);
  // To be called where the stream's status is OK: nothing may be missing.
  void CheckSuccess();

  // The first violation; empty: none.
  const std::string& violation() const { return violation_; }

 private:
  enum class Place { kBeforeStarted, kInAnswers, kAfterCompleted };

  struct Answer {
    uint32_t tokens_so_far = 0;
    uint32_t num_ids = 0;
    bool has_ended = false;
  };

  void Expect(bool is_met, const char* what);
  // Null where none was asked for, which is a violation.
  Answer* Find(uint32_t index);
  bool IsOpen(const Answer& answer) const { return place_ == Place::kInAnswers && !answer.has_ended; }
  void CheckDelta(const v1::Delta& delta);
  void CheckEnd(const v1::SequenceEnd& end);
  void CheckCompleted(const v1::Completed& completed);

  Place place_ = Place::kBeforeStarted;
  uint32_t prompt_tokens_ = 0;
  std::vector<Answer> answers_;  // by index
  std::string violation_;
};

}  // namespace latentd
