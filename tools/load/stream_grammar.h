// The grammar of a stream, checked event by event: one Started, Deltas in order, one SequenceEnd, one Completed, then
// OK.
#pragma once

#include <cstdint>
#include <string>

#include "latentd/v1/generation.pb.h"

namespace latentd {

class StreamGrammar {
 public:
  void Check(const v1::GenerateEvent& event);
  // To be called where the stream's status is OK: nothing may be missing.
  void CheckSuccess();

  // The first violation; empty: none.
  const std::string& violation() const { return violation_; }

 private:
  enum class Place { kBeforeStarted, kInDeltas, kAfterEnd, kAfterCompleted };

  void Expect(bool is_met, const char* what);
  void CheckDelta(const v1::Delta& delta);
  void CheckCompleted(const v1::Completed& completed);

  Place place_ = Place::kBeforeStarted;
  uint32_t prompt_tokens_ = 0;
  uint32_t tokens_so_far_ = 0;
  uint32_t num_ids_ = 0;
  std::string violation_;
};

}  // namespace latentd
