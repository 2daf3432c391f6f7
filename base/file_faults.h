// Reads of a mapped file that fail, because the file was cut or its disk fails: the kernel sends SIGBUS to the reading
// thread. Every mapped file is known here from its opening to its closing, so that the line that ends the process can
// name it. Any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace latentd {

enum class FaultLine { kText, kJson };

// From now on a read of a mapped file that can't be served, on whatever thread, is one line on stderr, "program: why"
// or an object with a message, and exit code 1. Every other SIGBUS keeps its default action.
void EndOnFileFaults(std::string_view program, FaultLine line);

// Entry of one mapped file. Opaque, never freed: the signal's handler walks the list of them without a lock.
struct KnownFile;
// `descriptor` stays open until Forget. The bytes must not be unmapped before it.
KnownFile* Remember(const std::filesystem::path& path, std::span<const std::byte> bytes, int descriptor);
void Forget(KnownFile* file);
const std::string& QuotedPath(const KnownFile& file);
int64_t SizeNow(const KnownFile& file);  // -1: the system does not tell

}  // namespace latentd
