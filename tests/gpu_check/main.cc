// latentd-gpu-check: what runs on the first GPU that anyone has. Every op test, the probes of the inline PTX, the
// engine beside the CPU's and the bundled model's recorded values, on one device, with a report as JSON.
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <string>
#include <string_view>
#include <system_error>

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
  std::filesystem::path report = std::filesystem::absolute("gpu-check.json");
};

// The value of "--name=value", where the argument is one.
bool Takes(const std::string& argument, const std::string& name, std::string* value) {
  const std::string head = "--" + name + "=";
  if (!argument.starts_with(head)) return false;
  *value = argument.substr(head.size());
  return true;
}

// Takes our options out of the arguments and goes to the source tree: googletest names the tests by what lies there.
bool Parse(int* argc, char** argv, Options* options) {
  std::filesystem::path source = LATENTD_SOURCE_DIRECTORY;
  int kept = 1;
  for (int i = 1; i < *argc; ++i) {
    std::string value;
    if (Takes(argv[i], "device", &options->device)) continue;
    if (Takes(argv[i], "report", &value)) {
      options->report = std::filesystem::absolute(value);
    } else if (Takes(argv[i], "source", &value)) {
      source = value;
    } else if (std::string_view(argv[i]).starts_with("--gtest_")) {
      argv[kept++] = argv[i];
    } else {
      std::cerr << "latentd-gpu-check: unknown argument " << argv[i] << '\n' << kUsage;
      return false;
    }
  }
  *argc = kept;
  if (!CudaDeviceIndex(options->device).has_value() && options->device != "cpu") {
    std::cerr << "latentd-gpu-check: device: expected cuda:N (or cpu, to compare), found \"" << options->device
              << "\"\n";
    return false;
  }
  std::error_code error;
  std::filesystem::current_path(source, error);
  if (!error) return true;
  std::cerr << "latentd-gpu-check: " << source.string() << ": " << error.message() << "; name it with --source\n";
  return false;
}

int Main(const Options& options) {
  const auto backend = options.device == "cpu" ? MakeCpuBackend(0) : MakeCudaBackend(*CudaDeviceIndex(options.device));
  if (!backend.ok()) {
    std::cerr << "latentd-gpu-check: " << backend.status().message() << '\n';
    return 1;
  }
  setenv("LATENTD_TEST_BACKEND", options.device.c_str(), 1);
  nlohmann::ordered_json report = {
      {"latentd", LATENTD_VERSION}, {"device", options.device}, {"description", backend->device->Describe()}};
  testing::UnitTest::GetInstance()->listeners().Append(new TestReporter(report));  // owned by the listeners
  const int failed = RUN_ALL_TESTS();
  std::ofstream(options.report) << report.dump(2) << '\n';
  std::cout << "report: " << options.report.string() << '\n';
  return failed != 0 || report["summary"]["passed"] == 0 ? 1 : 0;
}

}  // namespace
}  // namespace latentd

int main(int argc, char** argv) {
  latentd::Options options;
  if (!latentd::Parse(&argc, argv, &options)) return 2;
  testing::InitGoogleTest(&argc, argv);
  return latentd::Main(options);
}
