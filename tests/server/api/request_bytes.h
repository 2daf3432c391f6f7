// Requests as bytes of the wire, made of the schema alone: whatever it gets, tests of every field draw it, too.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <absl/status/status.h>
#include <google/protobuf/descriptor.h>

#include "google/rpc/error_details.pb.h"
#include "latentd/v1/models.pb.h"
#include "server/api/message_bytes.h"
#include "server/api/request_bounds.h"

namespace latentd {

inline v1::Model ModelWith(const ModelBounds& bounds) {
  v1::Model model;
  model.set_name("tiny");
  model.set_vocab_size(bounds.vocab_size);
  model.set_has_tokenizer(true);
  model.add_eos_token_ids(1);
  model.mutable_limits()->set_max_context_tokens(bounds.max_context_tokens);
  model.mutable_limits()->set_kv_blocks(100);
  return model;
}

// The fields that lead from a request to one that is in it.
using FieldPath = std::vector<const google::protobuf::FieldDescriptor*>;

inline std::string TextOf(const FieldPath& path) {
  std::string text = path.front()->containing_type()->name();
  for (const google::protobuf::FieldDescriptor* field : path) text += "." + field->name();
  return text;
}

inline std::string Varint(uint64_t value) {
  std::string bytes;
  for (; value >= 0x80; value >>= 7) bytes += static_cast<char>(value | 0x80);
  return bytes + static_cast<char>(value);
}

inline std::string Sized(const google::protobuf::FieldDescriptor& field, const std::string& content) {
  return Varint(static_cast<uint64_t>(field.number()) << 3 | 2) + Varint(content.size()) + content;
}

// A request that has nothing but the path's last field, which these bytes are.
inline std::string Within(const FieldPath& path, std::string bytes) {
  for (size_t i = path.size() - 1; i-- > 0;) bytes = Sized(*path[i], bytes);
  return bytes;
}

// One message in pieces of so many bytes; the last one has what is left.
class MessageBuffer {
 public:
  MessageBuffer(std::string bytes, size_t piece_bytes) : bytes_(std::make_shared<const std::string>(std::move(bytes))) {
    const std::string_view all = *bytes_;
    for (size_t at = 0; at == 0 || at < all.size(); at += std::min(piece_bytes, all.size() + 1)) {
      pieces_.push_back(all.substr(at, piece_bytes));
    }
  }

  operator MessageBytes() const { return pieces_; }

 private:
  std::shared_ptr<const std::string> bytes_;
  std::vector<std::string_view> pieces_;
};

inline constexpr size_t kWhole = std::string_view::npos;

inline MessageBuffer PiecesOf(std::string bytes, size_t piece_bytes) { return {std::move(bytes), piece_bytes}; }
inline MessageBuffer BufferOf(std::string bytes) { return PiecesOf(std::move(bytes), kWhole); }

inline google::rpc::BadRequest ViolationsOf(const absl::Status& status) {
  google::rpc::BadRequest bad;
  const auto payload = status.GetPayload("type.googleapis.com/google.rpc.BadRequest");
  if (payload && !bad.ParseFromString(std::string(*payload))) bad.Clear();
  return bad;
}

}  // namespace latentd
