#include "server/grpc/call_context.h"

#include <chrono>
#include <iterator>

#include <absl/strings/str_format.h>
#include <absl/strings/str_replace.h>
#include <grpc/grpc_security_constants.h>
#include <grpc/support/time.h>
#include <grpcpp/security/auth_context.h>

#include "server/api/answer_limit.h"
#include "server/api/status.h"
#include "server/api/tenant_name.h"

namespace latentd {
namespace {

constexpr int64_t kFarSeconds = int64_t{365} * 24 * 3600;

}  // namespace

std::string ReadablePeer(const std::string& peer) { return absl::StrReplaceAll(peer, {{"%5B", "["}, {"%5D", "]"}}); }

Shown ShownBy(const grpc::CallbackServerContext& context) {
  Shown shown;
  const auto [first, last] = context.client_metadata().equal_range("authorization");
  for (auto each = first; each != last; ++each)
    shown.authorization.emplace_back(each->second.data(), each->second.size());
  shown.is_local = context.peer().starts_with("unix:");
  const std::shared_ptr<const grpc::AuthContext> connection = context.auth_context();
  if (connection == nullptr || !connection->IsPeerAuthenticated()) return shown;
  shown.has_certificate = true;
  for (const grpc::string_ref& name : connection->FindPropertyValues(GRPC_X509_SAN_PROPERTY_NAME)) {
    shown.certificate_names.emplace_back(name.data(), name.size());
  }
  return shown;
}

CallOrigin OriginOf(const grpc::CallbackServerContext& context) {
  CallOrigin origin{.peer = ReadablePeer(context.peer()), .traceparent = {}};
  const auto [first, last] = context.client_metadata().equal_range("traceparent");
  if (first == last || std::next(first) != last) return origin;  // two parents are none
  const std::string_view value(first->second.data(), first->second.size());
  if (IsValidTraceparent(value)) origin.traceparent = value;
  return origin;
}

// A client may ask for thousands of years, which are more nanoseconds than a clock of C++ has.
TimePoint DeadlineOf(const grpc::CallbackServerContext& context) {
  const gpr_timespec deadline = context.raw_deadline();
  const gpr_timespec left = gpr_time_sub(deadline, gpr_now(deadline.clock_type));
  if (left.tv_sec > kFarSeconds) return kNever;  // none was set, or none that matters
  return std::chrono::steady_clock::now() + std::chrono::seconds(left.tv_sec) + std::chrono::nanoseconds(left.tv_nsec);
}

absl::StatusOr<size_t> AcceptedAnswerBytes(const grpc::CallbackServerContext& context) {
  const auto [first, last] = context.client_metadata().equal_range(kAcceptedBytesKey);
  if (first == last) return kDefaultAnswerBytes;
  return ParseAcceptedBytes({first->second.data(), first->second.size()});
}

absl::StatusOr<std::string> TenantOf(const grpc::CallbackServerContext& context) {
  const auto [first, last] = context.client_metadata().equal_range(kTenantKey);
  if (first == last) return std::string();
  if (std::next(first) != last) {
    return InvalidField(absl::StrFormat("metadata %s", kTenantKey), "expected one tenant, found several");
  }
  return ParseTenant({first->second.data(), first->second.size()});
}

void AddInitialMetadata(const Metadata& metadata, grpc::CallbackServerContext& context) {
  for (const auto& [key, value] : metadata) context.AddInitialMetadata(key, value);
}

}  // namespace latentd
