#include "server/api/shared_fields.h"

#include "base/check.h"

namespace latentd {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

// The kinds of fields that requests have in common; a field of another kind needs its line here.
bool CanCopy(const FieldDescriptor& field) {
  if (field.is_repeated()) return field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE && !field.is_map();
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_BOOL:
    case FieldDescriptor::CPPTYPE_STRING:
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return true;
    default:
      return false;
  }
}

bool HaveSameType(const FieldDescriptor& a, const FieldDescriptor& b) {
  return a.type() == b.type() && a.message_type() == b.message_type() && a.is_repeated() == b.is_repeated() &&
         a.has_presence() == b.has_presence();
}

struct Place {
  const Reflection& reflection;
  const FieldDescriptor* field;
};

void CopyEntries(const Message& from, const Place& source, Message* to, const Place& target) {
  const int count = source.reflection.FieldSize(from, source.field);
  for (int i = 0; i < count; ++i) {
    target.reflection.AddMessage(to, target.field)
        ->CopyFrom(source.reflection.GetRepeatedMessage(from, source.field, i));
  }
}

void CopyValue(const Message& from, const Place& source, Message* to, const Place& target) {
  if (!source.reflection.HasField(from, source.field)) return;
  switch (source.field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_BOOL:
      return target.reflection.SetBool(to, target.field, source.reflection.GetBool(from, source.field));
    case FieldDescriptor::CPPTYPE_STRING:
      return target.reflection.SetString(to, target.field, source.reflection.GetString(from, source.field));
    default:
      target.reflection.MutableMessage(to, target.field)->CopyFrom(source.reflection.GetMessage(from, source.field));
  }
}

}  // namespace

SharedFields::SharedFields(const Descriptor& from, const Descriptor& to) {
  for (int i = 0; i < from.field_count(); ++i) {
    const FieldDescriptor* source = from.field(i);
    const FieldDescriptor* target = to.FindFieldByName(source->name());
    if (target == nullptr) continue;
    CHECK(HaveSameType(*source, *target) && CanCopy(*source));
    fields_.emplace_back(source, target);
  }
}

void SharedFields::Copy(const Message& from, Message* to) const {
  for (const auto& [source_field, target_field] : fields_) {
    const Place source{*from.GetReflection(), source_field};
    const Place target{*to->GetReflection(), target_field};
    source_field->is_repeated() ? CopyEntries(from, source, to, target) : CopyValue(from, source, to, target);
  }
}

}  // namespace latentd
