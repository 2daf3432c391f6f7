#include "tools/latentctl/profile.h"

#include <fstream>
#include <iostream>

#include <absl/strings/str_format.h>
#include <grpcpp/grpcpp.h>

#include "base/quoting.h"
#include "tools/client/client.h"

namespace latentd {
namespace {

// As much as a hundred steps of the largest models take, several times over.
constexpr size_t kMaxTraceBytes = 256 << 20;

grpc::Status Fetch(const ProfileOptions& options, std::string& trace) {
  const AdminConnection connection(options.admin);
  grpc::ClientContext context;
  SetTimeout(options.admin.timeout_seconds, context);
  v1::ProfileStepsRequest request;
  request.set_steps(options.steps);
  const auto reader = connection.admin->ProfileSteps(&context, request);
  v1::DumpChunk chunk;
  while (reader->Read(&chunk)) {
    if (chunk.content().size() > kMaxTraceBytes - trace.size()) {
      context.TryCancel();
      return {grpc::StatusCode::RESOURCE_EXHAUSTED,
              absl::StrFormat("expected a trace of at most %d bytes, found more", kMaxTraceBytes)};
    }
    trace += chunk.content();
  }
  return reader->Finish();
}

}  // namespace

int SaveProfile(const ProfileOptions& options) {
  std::string trace;
  if (const grpc::Status status = Fetch(options, trace); !status.ok()) return Report(status);
  if (options.output.empty()) {
    std::cout << trace;
    return 0;
  }
  std::ofstream file(options.output, std::ios::binary | std::ios::trunc);
  file << trace;
  file.close();
  if (file.good()) return 0;
  std::cerr << "latentctl: --output: expected a file that can be written, found " << Quoted(options.output) << "\n";
  return 1;
}

}  // namespace latentd
