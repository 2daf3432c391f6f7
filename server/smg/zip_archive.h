// A zip of files that are not compressed (APPNOTE 6.3, method 0). A value; Finish comes last.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace latentd {

class ZipArchive {
 public:
  // `name` is no path and given once. All files together stay below 4 GiB, or their places would not fit.
  void Add(std::string_view name, std::string_view content);
  std::string Finish() &&;

 private:
  struct Entry {
    std::string name;
    uint32_t checksum = 0;
    uint32_t num_bytes = 0;
    uint32_t offset = 0;  // of its local header
  };

  std::string bytes_;
  std::vector<Entry> entries_;
};

}  // namespace latentd
