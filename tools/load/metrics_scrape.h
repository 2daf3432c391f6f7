// Reads a Prometheus text page over HTTP and takes sums of its samples.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <absl/status/statusor.h>

namespace latentd {

using Labels = std::map<std::string, std::string>;

class MetricsPage {
 public:
  struct Sample {
    std::string name;
    Labels labels;
    double value = 0.0;
  };

  // The text format 0.0.4. A line that is none of it is an error with its number.
  static absl::StatusOr<MetricsPage> Parse(std::string_view text);

  const std::vector<Sample>& samples() const { return samples_; }
  // Over the samples of that name which have all of `labels`; an error where there are none: a sum over nothing would
  // look like a server that counts nothing.
  absl::StatusOr<double> Sum(std::string_view name, const Labels& labels = {}) const;

 private:
  std::vector<Sample> samples_;
};

// http://`address`/metrics, with a bearer token unless that is empty.
absl::StatusOr<MetricsPage> Scrape(const std::string& address, const std::string& token);

}  // namespace latentd
