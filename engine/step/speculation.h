// How many drafts pay: a rule for rows that leave it to the engine, learnt from its steps. k drafts pay where the
// tokens that a row gets of a step, E(k) = 1 + a1 + a1·a2 + …, a_j how often the j-th draft is right, grow more than
// the seconds of the step do. Those depend on the number of rows: a step that waits for weights verifies drafts almost
// for nothing, one that multiplies all the time pays for each of them.
//
// What another k would take is known by looking only: now and then a few steps run with it, and are compared with the
// steps just before them, since hours, contexts and neighbours on the machine change what any step takes. Looks may
// waste kLookShare of the steps, so what doesn't pay is looked at rarely, and nothing is drafted until a look paid.
//
// No clock, no memory beyond its own. Owned by the Engine; engine thread only.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "engine/request.h"

namespace latentd {

class Speculation {
 public:
  explicit Speculation(int max_drafts) : max_drafts_(max_drafts) {}  // 0: there is nothing to choose

  // What each row of the next step is to draft, where so many rows decode.
  int DraftsFor(int num_rows) const;

  // A row verified drafts, from left to right until the first wrong one. Rows that ended meanwhile aren't counted.
  void CountDrafts(int num_verified, int num_accepted);

  struct Step {
    int num_rows = 0;  // that decoded
    // That each row verified, and was asked for again. Nothing where rows differ or prompts were computed, too.
    std::optional<int> num_drafts;
    double seconds = 0.0;
  };
  // After each step in which rows decoded, and after CountDrafts for its rows.
  void Observe(const Step& step);

  // The tokens that a step gives a row with so many drafts, as measured so far.
  double TokensWith(int num_drafts) const;

 private:
  static constexpr int kNumBuckets = 24;       // of numbers of rows: 1, 2, 3, 4, 6, 8, 12, 16 … and all above
  static constexpr int kNumSamples = 5;        // steps whose median counts
  static constexpr double kFirstCredit = 8.0;  // so many steps of each bucket may be wasted before any saved

  using ByDrafts = std::array<double, kMaxDrafts + 1>;  // by k

  struct Samples {
    std::array<double, kNumSamples> seconds{};
    int count = 0;

    bool is_full() const { return count >= kNumSamples; }
    void Add(double taken) { seconds[static_cast<size_t>(count++ % kNumSamples)] = taken; }
    double Median() const;  // once it is full
  };

  // Steps of a bucket's number of rows with one k.
  struct Choice {
    double seconds = 1.0;  // for each second of such a step without drafts, as looks found
    int num_looks = 0;
    int64_t looked_at = 0;  // the bucket's step

    void Learn(double found);
  };

  // A few steps with another k than the one chosen.
  struct Look {
    int num_drafts = 0;
    double waste = 0.0;
    int steps_left = 0;  // then it is given up
    Samples samples;
  };

  struct Bucket {
    std::array<Choice, kMaxDrafts + 1> choices{};
    int chosen = 0;
    int64_t num_steps = 0;         // with what is chosen
    int64_t last_step = 0;         // of all steps
    double credit = kFirstCredit;  // steps that looks may waste
    Samples samples;               // the last steps with what is chosen
    double compared_at = 0.0;      // their seconds as what is chosen was compared with none; 0: not known yet
    std::optional<Look> look;
  };

  static int BucketOf(int num_rows);
  static double WasteOfLook(int num_drafts, double seconds, double tokens);
  ByDrafts Tokens() const;
  ByDrafts SecondsIn(int index) const;
  std::optional<double> MeasuredNear(int index, int num_drafts) const;
  void Choose(Bucket& bucket) const;
  void StartLook(int index);
  void ObserveLook(Bucket& bucket, const Step& step);
  void FinishLook(Bucket& bucket);
  void CompareWithNone(Bucket& bucket, double seconds);
  static void EndLook(Bucket& bucket);
  void Forget();

  const int max_drafts_;
  // How often a draft was verified at each place, all before it being right, and was right itself. Both fade.
  std::array<double, kMaxDrafts> verified_{}, accepted_{};
  std::array<Bucket, kNumBuckets> buckets_{};
  int64_t num_steps_ = 0;
};

}  // namespace latentd
