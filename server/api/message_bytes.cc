#include "server/api/message_bytes.h"

namespace latentd {

bool MessageReader::Next(const void** data, int* size) {
  std::string_view piece;
  if (returned_ > 0) {
    piece = bytes_[next_ - 1].substr(bytes_[next_ - 1].size() - returned_);
    returned_ = 0;
  } else if (next_ < bytes_.size()) {
    piece = bytes_[next_++];
  } else {
    return false;
  }
  *data = piece.data();
  *size = static_cast<int>(piece.size());
  num_read_ += static_cast<int64_t>(piece.size());
  return true;
}

void MessageReader::BackUp(int count) {
  returned_ = static_cast<size_t>(count);
  num_read_ -= count;
}

bool MessageReader::Skip(int count) {
  const void* data = nullptr;
  int size = 0;
  while (count > 0) {
    if (!Next(&data, &size)) return false;
    if (size > count) BackUp(size - count);
    count -= size;
  }
  return true;
}

}  // namespace latentd
