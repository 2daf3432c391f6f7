// latentctl recorder: the scheduler's last decisions, of a daemon or out of a file.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "tools/latentctl/admin_commands.h"

namespace latentd {

struct RecorderOptions {
  AdminOptions admin;
  std::string file;                 // a dump to be read; empty: the daemon is asked
  std::string output;               // where the dump goes, in place of the timeline; empty: nowhere
  std::optional<uint64_t> request;  // only this one, by the number that the engine gave it
};

// The exit code.
int ShowRecorder(const RecorderOptions& options);

}  // namespace latentd
