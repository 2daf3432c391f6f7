#include "base/file_faults.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <mutex>
#include <string>

#include <sys/stat.h>
#include <unistd.h>

#include "base/quoting.h"

namespace latentd {

struct KnownFile {
  // Set last and cleared first: null while the entry is free. The rest changes only then.
  std::atomic<const std::byte*> begin{nullptr};
  size_t num_bytes = 0;
  int descriptor = -1;
  std::string quoted_path;
  KnownFile* next = nullptr;  // set before the entry joins the list
};

namespace {

std::mutex list_mutex;  // for those who change the list
std::atomic<KnownFile*> first_file{nullptr};

// What the handler says around its message, made before it can run.
std::string line_begin;
std::string line_end;
bool line_is_json = false;

// Text of one line without memory of the heap or locks, which a handler must not touch.
class LineBuffer {
 public:
  void Add(std::string_view text) {
    const size_t count = std::min(text.size(), buffer_.size() - length_);
    std::copy_n(text.data(), count, buffer_.data() + length_);
    length_ += count;
  }
  // Within a JSON string where the line is an object.
  void AddEscaped(std::string_view text) {
    for (const char& c : text) {
      if (line_is_json && (c == '\\' || c == '"')) Add("\\");
      Add({&c, 1});
    }
  }
  void AddNumber(uint64_t number) {
    char digits[20];
    size_t first = sizeof(digits);
    do {
      digits[--first] = static_cast<char>('0' + number % 10);
    } while ((number /= 10) > 0);
    Add({digits + first, sizeof(digits) - first});
  }
  void Write() const {
    for (size_t written = 0; written < length_;) {
      const ssize_t count = write(STDERR_FILENO, buffer_.data() + written, length_ - written);
      if (count <= 0 && errno != EINTR) return;
      if (count > 0) written += static_cast<size_t>(count);
    }
  }

 private:
  std::array<char, 4096> buffer_;
  size_t length_ = 0;
};

const KnownFile* FileAt(const std::byte* address) {
  for (const KnownFile* file = first_file.load(std::memory_order_acquire); file != nullptr; file = file->next) {
    const std::byte* begin = file->begin.load(std::memory_order_acquire);
    if (begin != nullptr && address >= begin && address < begin + file->num_bytes) return file;
  }
  return nullptr;
}

void Describe(const KnownFile& file, const std::byte* address, LineBuffer& line) {
  line.Add(line_begin);
  line.AddEscaped(file.quoted_path);
  const int64_t found = SizeNow(file);
  if (found >= 0 && static_cast<size_t>(found) < file.num_bytes) {
    line.Add(": expected ");
    line.AddNumber(file.num_bytes);
    line.Add(" bytes as when it was opened, found ");
    line.AddNumber(static_cast<uint64_t>(found));
    line.Add(": the file was cut while it was read; fetch it again");
  } else {
    line.Add(": expected to read byte ");
    line.AddNumber(static_cast<uint64_t>(address - file.begin.load(std::memory_order_relaxed)));
    line.Add(" of ");
    line.AddNumber(file.num_bytes);
    line.Add(", found an error of the disk or the network below it; check that and fetch the file again");
  }
  line.Add(line_end);
}

void OnBusError(int number, siginfo_t* cause, void*) {
  const auto* address = static_cast<const std::byte*>(cause->si_addr);
  const bool is_sent = cause->si_code <= 0;  // by kill and its like; no memory is involved
  const KnownFile* file = is_sent ? nullptr : FileAt(address);
  if (file == nullptr) {
    std::signal(number, SIG_DFL);
    if (is_sent) std::raise(number);  // once this returns; a fault happens again by itself
    return;
  }
  static std::atomic_flag is_told;
  while (is_told.test_and_set()) pause();  // another thread is about to end the process
  LineBuffer line;
  Describe(*file, address, line);
  line.Write();
  _exit(1);
}

}  // namespace

void EndOnFileFaults(std::string_view program, FaultLine line) {
  line_is_json = line == FaultLine::kJson;
  line_begin = line_is_json ? R"({"level":"critical","message":")" : std::string(program) + ": ";
  line_end = line_is_json ? "\"}\n" : "\n";
  if (isatty(STDERR_FILENO) != 0) line_begin.insert(0, "\r\x1b[K");  // over a line of progress
  struct sigaction action = {};
  action.sa_sigaction = OnBusError;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGBUS, &action, nullptr);
}

KnownFile* Remember(const std::filesystem::path& path, std::span<const std::byte> bytes, int descriptor) {
  const std::lock_guard lock(list_mutex);
  KnownFile* file = first_file.load(std::memory_order_relaxed);
  while (file != nullptr && file->begin.load(std::memory_order_relaxed) != nullptr) file = file->next;
  const bool is_new = file == nullptr;
  if (is_new) file = new KnownFile;
  file->num_bytes = bytes.size();
  file->descriptor = descriptor;
  file->quoted_path = Quoted(path.string());
  file->begin.store(bytes.data(), std::memory_order_release);
  if (is_new) {
    file->next = first_file.load(std::memory_order_relaxed);
    first_file.store(file, std::memory_order_release);
  }
  return file;
}

void Forget(KnownFile* file) {
  const std::lock_guard lock(list_mutex);
  file->begin.store(nullptr, std::memory_order_release);
  close(file->descriptor);
}

const std::string& QuotedPath(const KnownFile& file) { return file.quoted_path; }

int64_t SizeNow(const KnownFile& file) {
  struct stat facts {};
  return fstat(file.descriptor, &facts) == 0 ? static_cast<int64_t>(facts.st_size) : -1;
}

}  // namespace latentd
