// A set of Unicode code points: the meaning of a regular expression's character class.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/unicode_classes.h"

namespace latentd {

class CodePointSet {
 public:
  CodePointSet() = default;
  // Sorts and joins the ranges.
  explicit CodePointSet(std::vector<CodePointRange> ranges);
  // A class of unicode_classes.h; empty for an unknown name.
  static CodePointSet OfClass(std::string_view name);

  CodePointSet Complement() const;
  CodePointSet Union(const CodePointSet& other) const;
  CodePointSet Intersection(const CodePointSet& other) const;

  bool Contains(uint32_t code_point) const;
  bool empty() const { return ranges_.empty(); }
  // Sorted; no two overlap or touch.
  std::span<const CodePointRange> ranges() const { return ranges_; }

 private:
  std::vector<CodePointRange> ranges_;
};

}  // namespace latentd
