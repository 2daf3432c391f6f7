#include "engine/schedule/flight_recorder.h"

#include <algorithm>
#include <bit>

#include "base/check.h"

namespace latentd {
namespace {

uint64_t Joined(uint32_t low, uint32_t high) { return low | uint64_t{high} << 32; }
uint64_t Joined(int32_t low, int32_t high) { return Joined(static_cast<uint32_t>(low), static_cast<uint32_t>(high)); }
int32_t LowOf(uint64_t word) { return static_cast<int32_t>(static_cast<uint32_t>(word)); }
int32_t HighOf(uint64_t word) { return static_cast<int32_t>(static_cast<uint32_t>(word >> 32)); }

}  // namespace

FlightRecorder::FlightRecorder(size_t num_entries)
    : mask_(num_entries - 1), ring_(std::make_unique<Words[]>(num_entries)) {
  CHECK(std::has_single_bit(num_entries));
}

// The words are stored with release, and read with acquire, not for what they say but for num_recorded_: a reader that
// saw a word of entry n also sees n in num_recorded_, and knows that the entry before it in this place is gone.
void FlightRecorder::Record(FlightDecision decision, SequenceId sequence, const std::array<int32_t, 4>& numbers) {
  const uint64_t number = num_recorded_.load(std::memory_order_relaxed);
  Words& words = ring_[number & mask_];
  words[0].store(static_cast<uint64_t>(nanoseconds_), std::memory_order_release);
  words[1].store(sequence.request, std::memory_order_release);
  words[2].store(Joined(static_cast<int32_t>(decision), sequence.index), std::memory_order_release);
  words[3].store(Joined(numbers[0], numbers[1]), std::memory_order_release);
  words[4].store(Joined(numbers[2], numbers[3]), std::memory_order_release);
  num_recorded_.store(number + 1, std::memory_order_release);
}

bool FlightRecorder::Read(uint64_t number, FlightEntry& entry) const {
  if (number >= num_recorded()) return false;
  std::array<uint64_t, kWords> words;
  for (size_t i = 0; i < kWords; ++i) words[i] = ring_[number & mask_][i].load(std::memory_order_acquire);
  // Once so many are recorded, the next one may be on its way into this place.
  if (num_recorded() >= number + num_entries()) return false;
  entry = {.nanoseconds = static_cast<int64_t>(words[0]),
           .decision = static_cast<FlightDecision>(LowOf(words[2])),
           .request = words[1],
           .index = HighOf(words[2]),
           .numbers = {LowOf(words[3]), HighOf(words[3]), LowOf(words[4]), HighOf(words[4])}};
  return true;
}

std::vector<FlightEntry> FlightRecorder::Before(uint64_t end, size_t most) const {
  const uint64_t begin = end - std::min<uint64_t>({end, most, num_entries() - 1});
  std::vector<FlightEntry> entries;
  entries.reserve(static_cast<size_t>(end - begin));
  FlightEntry entry;
  for (uint64_t number = begin; number < end; ++number) {
    if (Read(number, entry)) {
      entries.push_back(entry);
    } else {
      entries.clear();  // the writer is past them: what is given has no gaps
    }
  }
  return entries;
}

}  // namespace latentd
