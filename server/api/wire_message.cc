#include "server/api/wire_message.h"

#include <map>

#include <absl/strings/str_format.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>

#include "base/utf8.h"
#include "server/api/status.h"

namespace latentd {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::internal::WireFormatLite;

}  // namespace

// The API's messages do not contain themselves, so the recursion is as deep as the schema.
std::string FindInvalidUtf8Field(std::string_view bytes, const google::protobuf::Descriptor& type) {
  google::protobuf::io::CodedInputStream input(reinterpret_cast<const uint8_t*>(bytes.data()),
                                               static_cast<int>(bytes.size()));
  std::map<int, int> seen;  // entries of each field so far
  for (uint32_t tag = input.ReadTag(); tag != 0; tag = input.ReadTag()) {
    const FieldDescriptor* field = type.FindFieldByNumber(WireFormatLite::GetTagFieldNumber(tag));
    if (field == nullptr || WireFormatLite::GetTagWireType(tag) != WireFormatLite::WIRETYPE_LENGTH_DELIMITED) {
      if (!WireFormatLite::SkipField(&input, tag)) break;
      continue;
    }
    uint32_t size = 0;
    if (!input.ReadVarint32(&size)) break;
    const std::string_view value = bytes.substr(static_cast<size_t>(input.CurrentPosition()), size);
    if (value.size() < size || !input.Skip(static_cast<int>(size))) break;
    const int entry = seen[field->number()]++;
    std::string path = field->is_repeated() ? absl::StrFormat("%s[%d]", field->name(), entry) : field->name();
    if (field->type() == FieldDescriptor::TYPE_STRING && FindInvalidUtf8(value)) return path;
    if (field->message_type() == nullptr) continue;
    const std::string inner = FindInvalidUtf8Field(value, *field->message_type());
    if (!inner.empty()) return path + "." + inner;
  }
  return "";
}

namespace {

absl::Status ParseChecked(MessageBytes bytes, google::protobuf::Message* message) {
  const google::protobuf::Descriptor& type = *message->GetDescriptor();
  MessageReader reader(bytes);
  if (message->ParseFromZeroCopyStream(&reader)) return absl::OkStatus();
  message->Clear();  // not beside what follows
  std::string joined;
  if (bytes.size() > 1) {
    for (const std::string_view piece : bytes) joined += piece;
  }
  const std::string field = FindInvalidUtf8Field(bytes.size() == 1 ? bytes.front() : joined, type);
  if (!field.empty()) return InvalidField(field, "expected valid UTF-8");
  return InvalidField("", absl::StrFormat("expected the bytes of a %s", type.full_name()));
}

}  // namespace

absl::Status ParseMessage(MessageBytes bytes, const ModelBounds& bounds, google::protobuf::Message* message) {
  absl::Status status = CheckEntries(bytes, *message->GetDescriptor(), bounds);
  return status.ok() ? ParseChecked(bytes, message) : status;
}

absl::Status ParseMessage(MessageBytes bytes, const ModelBounds& bounds, v1::DetokenizeRequest* message) {
  const google::protobuf::Descriptor& type = *message->GetDescriptor();
  if (absl::Status status = CheckEntries(bytes, type, bounds); !status.ok()) return status;
  const size_t num_ids = CountEntries(bytes, *type.FindFieldByNumber(v1::DetokenizeRequest::kTokenIdsFieldNumber));
  message->mutable_token_ids()->Reserve(static_cast<int>(num_ids));  // parsing keeps what was reserved
  return ParseChecked(bytes, message);
}

absl::Status ParseMessage(MessageBytes bytes, google::protobuf::Message* message) {
  return ParseMessage(bytes, ModelBounds{}, message);
}

}  // namespace latentd
