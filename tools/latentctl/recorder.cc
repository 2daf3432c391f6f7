#include "tools/latentctl/recorder.h"

#include <fstream>
#include <iostream>
#include <string_view>
#include <vector>

#include <absl/status/status.h>
#include <absl/status/statusor.h>
#include <absl/strings/str_format.h>
#include <grpcpp/grpcpp.h>

#include "base/file.h"
#include "base/quoting.h"
#include "engine/schedule/flight_dump.h"
#include "tools/client/client.h"
#include "tools/latentctl/flight_view.h"

namespace latentd {
namespace {

// A hundred times what a daemon keeps: what is larger is no dump.
constexpr size_t kMaxDumpBytes = 256 << 20;

int Fail(const absl::Status& status) {
  std::cerr << "latentctl: " << OnOneLine(std::string(status.message())) << "\n";
  return 1;
}

void Print(const std::vector<std::string>& lines) {
  for (const std::string& line : lines) std::cout << line << "\n";
}

grpc::Status Fetch(const AdminOptions& options, std::string& bytes) {
  const AdminConnection connection(options);
  grpc::ClientContext context;
  SetTimeout(options.timeout_seconds, context);
  const auto reader = connection.admin->DumpFlightRecorder(&context, {});
  v1::DumpChunk chunk;
  while (reader->Read(&chunk)) {
    if (chunk.content().size() > kMaxDumpBytes - bytes.size()) {
      context.TryCancel();
      return {grpc::StatusCode::RESOURCE_EXHAUSTED,
              absl::StrFormat("expected a dump of at most %d bytes, found more", kMaxDumpBytes)};
    }
    bytes += chunk.content();
  }
  return reader->Finish();
}

absl::Status Save(const std::string& path, std::string_view bytes) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  file.close();
  if (file.good()) return absl::OkStatus();
  return absl::UnavailableError(
      absl::StrFormat("--output: expected a file that can be written, found %s", Quoted(path)));
}

int Show(const RecorderOptions& options, std::string_view bytes) {
  absl::StatusOr<FlightDump> dump = ReadFlightDump(bytes);
  if (!dump.ok()) return Fail(options.file.empty() ? dump.status() : InFile(options.file, dump.status()));
  const bool is_saved = !options.output.empty();
  if (is_saved) {
    if (const absl::Status status = Save(options.output, bytes); !status.ok()) return Fail(status);
  }
  const std::vector<std::string> head = FlightHead(*dump);
  if (options.request) KeepRequest(*options.request, *dump);
  if (options.admin.json) {
    for (const FlightEntry& entry : dump->entries) std::cout << FlightJson(entry) << "\n";
    return 0;
  }
  Print(head);
  if (!is_saved) Print(FlightTimeline(*dump));
  Print(FlightSummary(*dump));
  return 0;
}

}  // namespace

int ShowRecorder(const RecorderOptions& options) {
  if (!options.file.empty()) {
    const absl::StatusOr<std::string> bytes = ReadFile(options.file, kMaxDumpBytes);
    return bytes.ok() ? Show(options, *bytes) : Fail(bytes.status());
  }
  std::string bytes;
  const grpc::Status status = Fetch(options.admin, bytes);
  return status.ok() ? Show(options, bytes) : Report(status);
}

}  // namespace latentd
