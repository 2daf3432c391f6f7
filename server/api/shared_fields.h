// What two messages have in common: the fields of the same name and type, found by descriptor, so that a field that is
// added to both is shared from then on. Constant after construction; any thread.
#pragma once

#include <utility>
#include <vector>

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>

namespace latentd {

class SharedFields {
 public:
  // CHECKs that fields of the same name have the same type.
  SharedFields(const google::protobuf::Descriptor& from, const google::protobuf::Descriptor& to);

  // Copies those that are set in `from` to `to`, which is empty. They are messages of the types given above.
  void Copy(const google::protobuf::Message& from, google::protobuf::Message* to) const;

 private:
  using Field = google::protobuf::FieldDescriptor;
  std::vector<std::pair<const Field*, const Field*>> fields_;
};

}  // namespace latentd
