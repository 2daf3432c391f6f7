#include "tools/client.h"

#include <cstdint>
#include <iostream>
#include <limits>

#include <absl/status/status.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace latentd {
namespace {

constexpr char kServing[] = "\x08\x01";  // HealthCheckResponse{status: SERVING}

}  // namespace

Client::Client(const std::string& server, ProxyUse proxy)
    : channel_(OpenChannel(server, proxy)),
      generation_(v1::Generation::NewStub(channel_)),
      models_(v1::Models::NewStub(channel_)) {}

// The health API's messages are too small to be worth a generated copy: one string in, one enumerator out.
grpc::Status Client::CheckHealth(const std::string& service, grpc::ClientContext& context, bool* serving) {
  std::string request;
  if (!service.empty()) request = std::string("\x0a") + static_cast<char>(service.size() & 0x7f) + service;
  const grpc::Slice slice(request);
  grpc::GenericStub stub(channel_);
  grpc::CompletionQueue queue;
  auto call = stub.PrepareUnaryCall(&context, "/grpc.health.v1.Health/Check", grpc::ByteBuffer(&slice, 1), &queue);
  grpc::ByteBuffer response;
  grpc::Status status;
  call->StartCall();
  call->Finish(&response, &status, nullptr);
  void* tag = nullptr;
  bool ok = false;
  queue.Next(&tag, &ok);
  grpc::Slice answer;
  if (status.ok()) status = response.DumpToSingleSlice(&answer);
  *serving = std::string(answer.begin(), answer.end()) == kServing;
  return status;
}

void AcceptAnyAnswer(grpc::ClientContext& context) {
  context.AddMetadata("latentd-max-answer-bytes", std::to_string(std::numeric_limits<int32_t>::max()));
}

void SetTimeout(double seconds, grpc::ClientContext& context) {
  if (seconds <= 0.0) return;
  context.set_deadline(
      std::chrono::system_clock::now() +
      std::chrono::duration_cast<std::chrono::system_clock::duration>(std::chrono::duration<double>(seconds)));
}

std::string ReasonOf(const grpc::Status& status) {
  google::rpc::Status details;
  google::rpc::ErrorInfo error;
  if (!details.ParseFromString(status.error_details())) return "";
  for (const auto& detail : details.details()) {
    if (detail.UnpackTo(&error)) return error.reason();
  }
  return "";
}

int Report(const grpc::Status& status) {
  if (status.ok()) return 0;
  const std::string reason = ReasonOf(status);
  std::cerr << "latentctl: " << absl::StatusCodeToString(static_cast<absl::StatusCode>(status.error_code()));
  if (!reason.empty()) std::cerr << " (" << reason << ")";
  std::cerr << ": " << status.error_message() << "\n";
  return 1;
}

}  // namespace latentd
