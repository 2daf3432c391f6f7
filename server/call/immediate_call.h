// A call whose answer the pool's thread makes at once: GetModel, Tokenize, most of Admin.
#pragma once

#include <functional>
#include <string_view>
#include <type_traits>
#include <utility>

#include <absl/status/statusor.h>

#include "server/api/message_bytes.h"
#include "server/call/call.h"

namespace latentd {

// Takes room for an answer that will have so many bytes at least, before it is made. Not OK: that is the answer.
using ReserveRoom = std::function<absl::Status(size_t num_bytes, std::string_view fields)>;

// Result is a message of protobuf.
template <class Result>
class ImmediateCall final : public Call {
 public:
  // `answerer`, on a thread of the pool, makes a StatusOr<Result> of the request's bytes and, where its answers may be
  // large, a ReserveRoom.
  template <class Answerer>
  ImmediateCall(CallStart start, const CallParts& parts, Answerer answerer)
      : Call(std::move(start), parts), answerer_(WithRoom(std::move(answerer))) {}

 private:
  void Handle(MessageBytes request) override {
    const absl::StatusOr<Result> result = answerer_(
        request, [this](size_t num_bytes, std::string_view fields) { return ReserveAnswer(num_bytes, fields); });
    if (!result.ok()) return Refuse(result.status());
    EchoTrace();
    Answer(result->SerializeAsString());
  }

  using AnswererWithRoom = std::function<absl::StatusOr<Result>(MessageBytes, const ReserveRoom&)>;

  template <class Answerer>
  static AnswererWithRoom WithRoom(Answerer answerer) {
    if constexpr (std::is_invocable_v<Answerer, MessageBytes, const ReserveRoom&>) {
      return answerer;
    } else {
      return [answerer = std::move(answerer)](MessageBytes request, const ReserveRoom&) { return answerer(request); };
    }
  }

  const AnswererWithRoom answerer_;
};

}  // namespace latentd
