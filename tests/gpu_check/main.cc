// latentd-gpu-check: what runs on the first GPU that anyone has. Every op test, the probes of the inline PTX, the
// engine beside the CPU's and the bundled model's recorded values, on one device, with a report as JSON.
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "kernels/backend.h"
#include "tests/gpu_check/report.h"

namespace latentd {
namespace {

constexpr char kUsage[] =
    "usage: latentd-gpu-check [--device=cuda:N] [--report=FILE] [--source=DIRECTORY] [--gtest_…]\n"
    "  --device  default cuda:0\n"
    "  --report  default gpu-check.json\n"
    "  --source  the source tree, with models/ and tests/data; default: where this was built from\n";

struct Options {
  std::string device = "cuda:0";
  std::filesystem::path report = "gpu-check.json";
  std::filesystem::path source = LATENTD_SOURCE_DIRECTORY;
};

// The value of "--name=value", where the argument is one.
bool Takes(const std::string& argument, const std::string& name, std::string* value) {
  const std::string head = "--" + name + "=";
  if (!argument.starts_with(head)) return false;
  *value = argument.substr(head.size());
  return true;
}

// What googletest left of the arguments.
bool Parse(int argc, char** argv, Options* options) {
  for (int i = 1; i < argc; ++i) {
    std::string path;
    if (Takes(argv[i], "device", &options->device)) continue;
    if (Takes(argv[i], "report", &path)) {
      options->report = path;
    } else if (Takes(argv[i], "source", &path)) {
      options->source = path;
    } else {
      std::cerr << "latentd-gpu-check: unknown argument " << argv[i] << '\n' << kUsage;
      return false;
    }
  }
  if (CudaDeviceIndex(options->device).has_value() || options->device == "cpu") return true;
  std::cerr << "latentd-gpu-check: device: expected cuda:N (or cpu, to compare), found \"" << options->device << "\"\n";
  return false;
}

int Main(const Options& options) {
  const std::filesystem::path report_file = std::filesystem::absolute(options.report);
  const auto backend = options.device == "cpu" ? MakeCpuBackend(0) : MakeCudaBackend(*CudaDeviceIndex(options.device));
  if (!backend.ok()) {
    std::cerr << "latentd-gpu-check: " << backend.status().message() << '\n';
    return 1;
  }
  std::filesystem::current_path(options.source);
  setenv("LATENTD_TEST_BACKEND", options.device.c_str(), 1);
  nlohmann::ordered_json report = {
      {"latentd", LATENTD_VERSION}, {"device", options.device}, {"description", backend->device->Describe()}};
  testing::UnitTest::GetInstance()->listeners().Append(new TestReporter(report));  // owned by the listeners
  const int failed = RUN_ALL_TESTS();
  std::ofstream(report_file) << report.dump(2) << '\n';
  std::cout << "report: " << report_file.string() << '\n';
  return failed != 0 || report["summary"]["passed"] == 0 ? 1 : 0;
}

}  // namespace
}  // namespace latentd

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  latentd::Options options;
  return latentd::Parse(argc, argv, &options) ? latentd::Main(options) : 2;
}
