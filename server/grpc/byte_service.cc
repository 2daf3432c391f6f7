#include "server/grpc/byte_service.h"

#include <utility>

#include <absl/strings/str_format.h>
#include <grpcpp/impl/codegen/server_callback_handlers.h>

#include "base/check.h"

namespace latentd {

void ByteService::Register(const std::string& method, Handler handler) {
  CHECK(service_.FindMethodByName(method) != nullptr);
  const std::string& path = paths_.emplace_back(absl::StrFormat("/%s/%s", service_.full_name(), method));
  AddMethod(new grpc::internal::RpcServiceMethod(path.c_str(), grpc::internal::RpcMethod::BIDI_STREAMING, nullptr));
  MarkMethodRawCallback(
      static_cast<int>(paths_.size()) - 1,
      new grpc::internal::CallbackBidiHandler<grpc::ByteBuffer, grpc::ByteBuffer>(std::move(handler)));
}

void ByteService::CheckComplete() const { CHECK_EQ(static_cast<int>(paths_.size()), service_.method_count()); }

}  // namespace latentd
