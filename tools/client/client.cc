#include "tools/client/client.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <iostream>
#include <limits>
#include <thread>

#include <absl/status/status.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include "base/quoting.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace latentd {
namespace {

// The health API's messages are too small to be worth a generated copy: one string in, one enumerator out.
constexpr char kServing[] = "\x08\x01";  // HealthCheckResponse{status: SERVING}
constexpr char kServiceUnknown[] = "\x08\x03";

// A refused client asks again after so long.
constexpr std::chrono::milliseconds kBetweenWatches{100};

using Time = std::chrono::system_clock::time_point;

Time After(double seconds) {
  return std::chrono::system_clock::now() +
         std::chrono::duration_cast<std::chrono::system_clock::duration>(std::chrono::duration<double>(seconds));
}

// To ask again would be in vain. A daemon that drains, one that is full, and a proxy without one behind it say others.
bool IsFinal(grpc::StatusCode code) {
  switch (code) {
    case grpc::StatusCode::INVALID_ARGUMENT:
    case grpc::StatusCode::NOT_FOUND:
    case grpc::StatusCode::PERMISSION_DENIED:
    case grpc::StatusCode::UNAUTHENTICATED:
    case grpc::StatusCode::UNIMPLEMENTED:
      return true;
    default:
      return false;
  }
}

grpc::ByteBuffer HealthRequest(const std::string& service) {
  std::string request;
  if (!service.empty()) request = std::string("\x0a") + static_cast<char>(service.size() & 0x7f) + service;
  const grpc::Slice slice(request);
  return {&slice, 1};
}

std::string TextOf(const grpc::ByteBuffer& message) {
  grpc::Slice slice;
  return message.DumpToSingleSlice(&slice).ok() ? std::string(slice.begin(), slice.end()) : "";
}

bool Next(grpc::CompletionQueue& queue) {
  void* tag = nullptr;
  bool is_ok = false;
  return queue.Next(&tag, &is_ok) && is_ok;
}

}  // namespace

Client::Client(const std::string& server, const Dialing& dialing, const grpc::ChannelArguments& arguments)
    : channel_(OpenChannel(server, dialing, arguments)),
      generation_(v1::Generation::NewStub(channel_)),
      models_(v1::Models::NewStub(channel_)) {}

grpc::Status Client::CheckHealth(const std::string& service, grpc::ClientContext& context, bool* serving) {
  grpc::GenericStub stub(channel_);
  grpc::CompletionQueue queue;
  auto call = stub.PrepareUnaryCall(&context, "/grpc.health.v1.Health/Check", HealthRequest(service), &queue);
  grpc::ByteBuffer response;
  grpc::Status status;
  call->StartCall();
  call->Finish(&response, &status, nullptr);
  Next(queue);
  *serving = status.ok() && TextOf(response) == kServing;
  return status;
}

grpc::Status Client::Watch(const std::string& service, grpc::ClientContext& context) {
  grpc::GenericStub stub(channel_);
  grpc::CompletionQueue queue;
  context.set_wait_for_ready(true);
  const auto call = stub.PrepareCall(&context, "/grpc.health.v1.Health/Watch", &queue);
  call->StartCall(nullptr);
  if (Next(queue)) {
    call->WriteLast(HealthRequest(service), {}, nullptr);
    Next(queue);
  }
  grpc::ByteBuffer message;
  std::string state;
  while (state != kServing && state != kServiceUnknown) {
    call->Read(&message, nullptr);
    if (!Next(queue)) break;
    state = TextOf(message);
  }
  context.TryCancel();
  grpc::Status status;
  call->Finish(&status, nullptr);
  Next(queue);
  if (state == kServing) return grpc::Status::OK;
  if (state == kServiceUnknown) return {grpc::StatusCode::NOT_FOUND, "no such service"};
  return status.ok() ? grpc::Status(grpc::StatusCode::UNAVAILABLE, "the watch of its health ended") : status;
}

grpc::Status Client::AwaitServing(const std::string& service, double seconds) {
  const Time deadline = After(seconds);
  grpc::Status last;
  for (;;) {
    grpc::ClientContext context;
    context.set_deadline(deadline);
    const grpc::Status status = Watch(service, context);
    if (status.ok() || IsFinal(status.error_code())) return status;
    if (status.error_code() != grpc::StatusCode::DEADLINE_EXCEEDED) last = status;
    if (std::chrono::system_clock::now() >= deadline) return last.ok() ? status : last;
    std::this_thread::sleep_until(std::min(deadline, std::chrono::system_clock::now() + kBetweenWatches));
  }
}

void AcceptAnyAnswer(grpc::ClientContext& context) {
  context.AddMetadata("latentd-max-answer-bytes", std::to_string(std::numeric_limits<int32_t>::max()));
}

void NameTenant(const std::string& tenant, grpc::ClientContext& context) {
  if (!tenant.empty()) context.AddMetadata("x-latentd-tenant", tenant);
}

void SetTimeout(double seconds, grpc::ClientContext& context) {
  if (seconds <= 0.0) return;
  context.set_deadline(After(seconds));
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
  std::cerr << ": " << OnOneLine(status.error_message()) << "\n";
  return 1;
}

}  // namespace latentd
