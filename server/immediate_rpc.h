// An RPC whose answer the pool's thread makes at once: GetModel, Tokenize, most of Admin.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <utility>

#include <absl/status/statusor.h>

#include "server/rpc.h"

namespace latentd {

template <class Result>
class ImmediateRpc final : public Rpc {
 public:
  // On a thread of the pool.
  using Answerer = std::function<absl::StatusOr<Result>(const grpc::ByteBuffer& request)>;

  ImmediateRpc(grpc::CallbackServerContext& context, const RpcParts& parts, std::string_view method, Answerer answerer)
      : Rpc(context, parts, method), answerer_(std::move(answerer)) {}

 private:
  void Handle(const grpc::ByteBuffer& request) override {
    const absl::StatusOr<Result> result = answerer_(request);
    if (!result.ok()) return Refuse(result.status());
    EchoTrace();
    Answer(*result);
  }

  const Answerer answerer_;
};

}  // namespace latentd
