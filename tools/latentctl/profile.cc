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

std::string CountOf(uint32_t steps) { return absl::StrFormat("%d %s", steps, steps == 1 ? "step" : "steps"); }

// An idle daemon computes no steps, and says nothing until it has.
void SayWhatItWaitsFor(const ProfileOptions& options) {
  std::cerr << "latentctl: recording the next " << CountOf(options.steps) << " that requests take; ";
  if (options.admin.timeout_seconds > 0.0) {
    std::cerr << absl::StrFormat("waits for them at most %g s (--timeout)\n", options.admin.timeout_seconds);
  } else {
    std::cerr << "waits for them without a bound (--timeout 0)\n";
  }
}

grpc::Status TooFew(const ProfileOptions& options) {
  return {grpc::StatusCode::DEADLINE_EXCEEDED,
          absl::StrFormat("expected %s within %g s, found fewer: send requests meanwhile, or raise --timeout",
                          CountOf(options.steps), options.admin.timeout_seconds)};
}

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
  grpc::Status status = reader->Finish();
  return status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED ? TooFew(options) : status;
}

}  // namespace

int SaveProfile(const ProfileOptions& options) {
  std::string trace;
  SayWhatItWaitsFor(options);
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
