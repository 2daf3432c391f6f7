// What the knob `profile` asks for: the first steps that are computed, by op, in a file. Owned by the Daemon; asked by
// one thread at a time.
#pragma once

#include <memory>
#include <string>

#include <absl/status/status.h>

#include "engine/step/step_profile.h"

namespace latentd {

class ProfileFile {
 public:
  static constexpr int kSteps = 32;

  // Makes the file, so that one that can't be written is refused at the start, and so is one that is no trace. An empty
  // path asks for nothing.
  static absl::Status Prepare(const std::string& path);

  // `ops` must outlive it; null where steps can't be profiled.
  ProfileFile(std::string path, ProfiledOps* ops);

  // Writes the file once the steps were computed, and says so in the log.
  void Tick();
  // The same at the process's end of fewer steps, or none.
  void Finish();

 private:
  void Write(const std::string& trace, size_t num_steps);

  const std::string path_;
  std::unique_ptr<StepProfile> profile_;  // null: nothing is awaited
};

}  // namespace latentd
