// Collects what is wrong with a request, field by field. Nothing wrong wins over "not implemented", which wins over OK.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <absl/status/status.h>

#include "latentd/v1/generation.pb.h"
#include "latentd/v1/models.pb.h"
#include "server/status.h"

namespace latentd {

class FieldChecks {
 public:
  void Invalid(std::string field, std::string description) {
    violations_.push_back({std::move(field), std::move(description)});
  }
  // `lowest` to `highest`, both included; NaN is outside of every range.
  void Range(std::string_view field, double value, double lowest, double highest);
  // Above 0, at most `highest`.
  void Positive(std::string_view field, double value, double highest);
  void Count(std::string_view field, int count, int highest);
  void Length(std::string_view field, std::string_view text, size_t lowest, size_t highest);
  void TokenId(std::string_view field, uint32_t id, uint32_t vocab_size);
  // `is_set` asks for something that this server does not do yet.
  void Unsupported(bool is_set, std::string_view field, std::string_view what);

  absl::Status Result() const;

 private:
  std::vector<FieldViolation> violations_;
  std::vector<FieldViolation> unsupported_;
};

void CheckSampling(const v1::Sampling& sampling, const v1::Model& model, FieldChecks& checks);
void CheckStopping(const v1::Stopping& stopping, const v1::Model& model, FieldChecks& checks);
void CheckConstraint(const v1::Constraint& constraint, FieldChecks& checks);
void CheckOutput(const v1::Output& output, const v1::Model& model, FieldChecks& checks);
void CheckCache(const v1::Cache& cache, FieldChecks& checks);
void CheckScheduling(const v1::Scheduling& scheduling, FieldChecks& checks);
void CheckRequestId(std::string_view request_id, FieldChecks& checks);
void CheckTokenIds(const v1::TokenIds& token_ids, uint32_t vocab_size, FieldChecks& checks);

}  // namespace latentd
