// Dumps of the flight recorder (engine/schedule/flight_dump.h): in memory for Admin, and as files where the engine
// stalls, an invariant is broken or a CHECK fails. Owned by the Daemon; any thread.
#pragma once

#include <atomic>
#include <cstddef>
#include <string>
#include <string_view>

#include <absl/status/status.h>

#include "base/clock.h"
#include "engine/schedule/flight_dump.h"
#include "engine/schedule/flight_recorder.h"

namespace latentd {

// The newest entries, at most `most`. `clock` is the engine's.
FlightDump TakeFlightDump(const FlightRecorder& recorder, size_t most, const Clock& clock);

// OK for an empty name, which means none.
absl::Status CheckRecorderDirectory(const std::string& directory);

// One to save on failed checks at a time in a process.
class FlightDumps {
 public:
  struct Options {
    std::string directory = {};    // empty: nothing is saved, and each line says so
    std::string fingerprint = {};  // the model's
  };
  // `clock` is the engine's, and must outlive it.
  FlightDumps(const Options& options, const Clock& clock);
  FlightDumps(const FlightDumps&) = delete;
  FlightDumps& operator=(const FlightDumps&) = delete;
  ~FlightDumps() { Forget(); }

  // Saves it and names the file in a line of the log. `why` is a part of the file's name.
  void Save(const FlightRecorder& recorder, std::string_view why);
  // From here on a CHECK that fails saves this one before the process aborts.
  void SaveOnFailedCheck(const FlightRecorder& recorder);
  // The recorder goes.
  void Forget();

 private:
  class Output;
  class EntryWriter;

  static void OnFailedCheck();
  std::string PathFor(std::string_view why) const;
  // Neither allocates nor locks. False where errno says why.
  bool Write(const FlightRecorder& recorder, const char* path) const;
  bool WriteTo(const Output& output, const FlightRecorder& recorder) const;

  const Options options_;
  const Clock& clock_;
  const std::string beginning_;  // of each file's name
  std::atomic<int> num_saved_ = 0;

  // Composed before they are needed.
  const std::string check_path_;
  const std::string saved_line_, failed_line_;
  std::atomic<const FlightRecorder*> of_checks_ = nullptr;
};

}  // namespace latentd
