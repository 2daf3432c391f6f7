#include "server/grpc/reflection_service.h"

#include <map>
#include <mutex>
#include <set>
#include <utility>

#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>

#include "base/allowance.h"
#include "base/clock.h"
#include "base/now.h"
#include "grpc/reflection/v1/reflection.pb.h"
#include "grpc/reflection/v1alpha/reflection.pb.h"
#include "server/call/identity.h"
#include "server/grpc/byte_service.h"
#include "server/grpc/call_context.h"
#include "server/grpc/grpc_status.h"
#include "server/grpc/small_rpc.h"

namespace latentd {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::DescriptorPool;
using google::protobuf::FieldDescriptor;
using google::protobuf::FileDescriptor;
using grpc::reflection::v1::FileDescriptorResponse;
// v1alpha says the same in the same bytes.
using ReflectionRequest = grpc::reflection::v1::ServerReflectionRequest;
using ReflectionResponse = grpc::reflection::v1::ServerReflectionResponse;

void AddWithImports(const FileDescriptor& file, std::set<const FileDescriptor*>& added, FileDescriptorResponse& files) {
  if (!added.insert(&file).second) return;
  google::protobuf::FileDescriptorProto proto;
  file.CopyTo(&proto);
  files.add_file_descriptor_proto(proto.SerializeAsString());
  for (int i = 0; i < file.dependency_count(); ++i) AddWithImports(*file.dependency(i), added, files);
}

// What all streams share: the names of all services, and what they were asked for before.
class Catalogue {
 public:
  explicit Catalogue(std::vector<std::string> service_names) : service_names_(std::move(service_names)) {}

  const std::vector<std::string>& service_names() const { return service_names_; }
  StreamPlaces& places() { return places_; }
  // With all that it imports. Takes a millisecond for the first time.
  const FileDescriptorResponse& FilesOf(const FileDescriptor& file) {
    std::lock_guard lock(mutex_);
    const auto [place, is_new] = files_.try_emplace(&file);
    std::set<const FileDescriptor*> added;
    if (is_new) AddWithImports(file, added, place->second);
    return place->second;
  }

 private:
  const std::vector<std::string> service_names_;
  StreamPlaces places_{kMaxReflectionStreams};
  std::mutex mutex_;
  std::map<const FileDescriptor*, FileDescriptorResponse> files_;  // guarded by mutex_; what is in it stays as it is
};

void SetError(grpc::StatusCode code, const std::string& message, ReflectionResponse& response) {
  response.mutable_error_response()->set_error_code(code);
  response.mutable_error_response()->set_error_message(message);
}

void SetFile(Catalogue& catalogue, const FileDescriptor* file, ReflectionResponse& response) {
  if (file == nullptr) return SetError(grpc::StatusCode::NOT_FOUND, "no file has it", response);
  *response.mutable_file_descriptor_response() = catalogue.FilesOf(*file);
}

void SetExtensions(const std::string& type, ReflectionResponse& response) {
  const DescriptorPool& pool = *DescriptorPool::generated_pool();
  const Descriptor* message = pool.FindMessageTypeByName(type);
  if (message == nullptr) return SetError(grpc::StatusCode::NOT_FOUND, "no message has this name", response);
  std::vector<const FieldDescriptor*> extensions;
  pool.FindAllExtensions(message, &extensions);
  auto& numbers = *response.mutable_all_extension_numbers_response();
  numbers.set_base_type_name(type);
  for (const FieldDescriptor* extension : extensions) numbers.add_extension_number(extension->number());
}

const FileDescriptor* FileOfExtension(const std::string& type, int number) {
  const DescriptorPool& pool = *DescriptorPool::generated_pool();
  const Descriptor* message = pool.FindMessageTypeByName(type);
  const FieldDescriptor* field = message == nullptr ? nullptr : pool.FindExtensionByNumber(message, number);
  return field == nullptr ? nullptr : field->file();
}

void Answer(const ReflectionRequest& request, Catalogue& catalogue, ReflectionResponse& response) {
  const DescriptorPool& pool = *DescriptorPool::generated_pool();
  response.set_valid_host(request.host());
  *response.mutable_original_request() = request;
  switch (request.message_request_case()) {
    case ReflectionRequest::kFileByFilename:
      return SetFile(catalogue, pool.FindFileByName(request.file_by_filename()), response);
    case ReflectionRequest::kFileContainingSymbol:
      return SetFile(catalogue, pool.FindFileContainingSymbol(request.file_containing_symbol()), response);
    case ReflectionRequest::kFileContainingExtension: {
      const auto& extension = request.file_containing_extension();
      return SetFile(catalogue, FileOfExtension(extension.containing_type(), extension.extension_number()), response);
    }
    case ReflectionRequest::kAllExtensionNumbersOfType:
      return SetExtensions(request.all_extension_numbers_of_type(), response);
    case ReflectionRequest::kListServices:
      response.mutable_list_services_response();
      for (const std::string& name : catalogue.service_names()) {
        response.mutable_list_services_response()->add_service()->set_name(name);
      }
      return;
    default:
      return SetError(grpc::StatusCode::INVALID_ARGUMENT, "the request asks for nothing", response);
  }
}

// Reads, answers, reads.
class Stream final : public SmallRpc {
 public:
  Stream(grpc::CallbackServerContext& context, std::shared_ptr<Catalogue> catalogue)
      : SmallRpc(context, catalogue->places()), catalogue_(std::move(catalogue)) {}

 private:
  void Handle(const std::string& message) override {
    ReflectionRequest request;
    if (!request.ParseFromString(message)) {
      return End({grpc::StatusCode::INVALID_ARGUMENT, "expected a ServerReflectionRequest, found other bytes"});
    }
    questions_.Refill(Now());
    questions_.Take(1);
    if (questions_.is_overdrawn()) return End({grpc::StatusCode::RESOURCE_EXHAUSTED, "too many questions; ask later"});
    ReflectionResponse response;
    Answer(request, *catalogue_, response);
    Write(response);
  }
  void HandleEnd() override { End(grpc::Status::OK); }
  void Written() override { Read(); }

  const std::shared_ptr<Catalogue> catalogue_;
  // Far beyond what tools ask: each costs a thread of gRPC's some 20 us.
  Allowance questions_{100, 100, Now()};
};

class ReflectionService final : public ByteService {
 public:
  ReflectionService(const google::protobuf::ServiceDescriptor& service, const std::shared_ptr<Catalogue>& catalogue,
                    const Entrance& entrance)
      : ByteService(service) {
    Register("ServerReflectionInfo", [catalogue, entrance](grpc::CallbackServerContext* context) -> RpcReactor* {
      const absl::StatusOr<Identity> caller = IdentifyAny(ShownBy(*context), entrance);
      return caller.ok() ? Begun<Stream>(*context, catalogue) : new RefusedRpc(ToGrpcStatus(caller.status()));
    });
    CheckComplete();
  }
};

}  // namespace

std::vector<std::unique_ptr<grpc::Service>> MakeReflectionServices(std::vector<std::string> service_names,
                                                                   const Entrance& entrance) {
  const google::protobuf::ServiceDescriptor* const versions[] = {
      ReflectionRequest::descriptor()->file()->service(0),
      grpc::reflection::v1alpha::ServerReflectionRequest::descriptor()->file()->service(0)};
  for (const auto* version : versions) service_names.push_back(version->full_name());
  const auto catalogue = std::make_shared<Catalogue>(std::move(service_names));
  std::vector<std::unique_ptr<grpc::Service>> services;
  for (const auto* version : versions)
    services.push_back(std::make_unique<ReflectionService>(*version, catalogue, entrance));
  return services;
}

}  // namespace latentd
