#include "server/reflection_service.h"

#include <mutex>
#include <set>
#include <utility>

#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>

#include "grpc/reflection/v1/reflection.grpc.pb.h"
#include "grpc/reflection/v1alpha/reflection.grpc.pb.h"
#include "server/stream_places.h"

namespace latentd {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::DescriptorPool;
using google::protobuf::FieldDescriptor;
using google::protobuf::FileDescriptor;

const grpc::Status kTooMany(grpc::StatusCode::RESOURCE_EXHAUSTED,
                            "too many streams of reflection are open; try again later");

// What both versions share: the names of all services.
struct Catalogue {
  std::vector<std::string> service_names;
  StreamPlaces places{kMaxReflectionStreams};
};

template <class Response>
void SetError(grpc::StatusCode code, const std::string& message, Response& response) {
  response.mutable_error_response()->set_error_code(code);
  response.mutable_error_response()->set_error_message(message);
}

template <class Files>
void AddWithImports(const FileDescriptor& file, std::set<const FileDescriptor*>& added, Files& files) {
  if (!added.insert(&file).second) return;
  google::protobuf::FileDescriptorProto proto;
  file.CopyTo(&proto);
  files.add_file_descriptor_proto(proto.SerializeAsString());
  for (int i = 0; i < file.dependency_count(); ++i) AddWithImports(*file.dependency(i), added, files);
}

template <class Response>
void SetFile(const FileDescriptor* file, Response& response) {
  if (file == nullptr) return SetError(grpc::StatusCode::NOT_FOUND, "no file has it", response);
  std::set<const FileDescriptor*> added;
  AddWithImports(*file, added, *response.mutable_file_descriptor_response());
}

template <class Response>
void SetExtensions(const std::string& type, Response& response) {
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

template <class Request, class Response>
void Answer(const Request& request, const Catalogue& catalogue, Response& response) {
  const DescriptorPool& pool = *DescriptorPool::generated_pool();
  response.Clear();
  response.set_valid_host(request.host());
  *response.mutable_original_request() = request;
  switch (request.message_request_case()) {
    case Request::kFileByFilename:
      return SetFile(pool.FindFileByName(request.file_by_filename()), response);
    case Request::kFileContainingSymbol:
      return SetFile(pool.FindFileContainingSymbol(request.file_containing_symbol()), response);
    case Request::kFileContainingExtension: {
      const auto& extension = request.file_containing_extension();
      return SetFile(FileOfExtension(extension.containing_type(), extension.extension_number()), response);
    }
    case Request::kAllExtensionNumbersOfType:
      return SetExtensions(request.all_extension_numbers_of_type(), response);
    case Request::kListServices:
      response.mutable_list_services_response();
      for (const std::string& name : catalogue.service_names) {
        response.mutable_list_services_response()->add_service()->set_name(name);
      }
      return;
    default:
      return SetError(grpc::StatusCode::INVALID_ARGUMENT, "the request asks for nothing", response);
  }
}

// Reads, answers, reads. Deletes itself.
template <class Request, class Response>
class Stream final : public grpc::ServerBidiReactor<Request, Response> {
 public:
  explicit Stream(std::shared_ptr<Catalogue> catalogue) : catalogue_(std::move(catalogue)) {
    this->StartRead(&request_);
  }

  void OnReadDone(bool ok) override {
    if (!ok) return End(grpc::Status::OK);
    Answer(request_, *catalogue_, response_);
    std::lock_guard lock(mutex_);
    if (!has_ended_) this->StartWrite(&response_);
  }
  void OnWriteDone(bool ok) override {
    if (!ok) return End(grpc::Status::CANCELLED);
    std::lock_guard lock(mutex_);
    if (!has_ended_) this->StartRead(&request_);
  }
  void OnCancel() override { End(grpc::Status::CANCELLED); }
  void OnDone() override {
    catalogue_->places.GiveBack();
    delete this;
  }

 private:
  void End(const grpc::Status& status) {
    std::lock_guard lock(mutex_);
    if (!std::exchange(has_ended_, true)) this->Finish(status);
  }

  const std::shared_ptr<Catalogue> catalogue_;
  Request request_;
  Response response_;
  std::mutex mutex_;
  bool has_ended_ = false;  // by a cancellation, perhaps while an answer is made
};

template <class Service, class Request, class Response>
class ReflectionService final : public Service {
 public:
  explicit ReflectionService(std::shared_ptr<Catalogue> catalogue) : catalogue_(std::move(catalogue)) {}

  grpc::ServerBidiReactor<Request, Response>* ServerReflectionInfo(grpc::CallbackServerContext* /*context*/) override {
    if (!catalogue_->places.Take()) return new RefusedStream<grpc::ServerBidiReactor<Request, Response>>(kTooMany);
    return new Stream<Request, Response>(catalogue_);
  }

 private:
  const std::shared_ptr<Catalogue> catalogue_;
};

namespace reflection_v1 = grpc::reflection::v1;
namespace reflection_v1alpha = grpc::reflection::v1alpha;

}  // namespace

std::vector<std::unique_ptr<grpc::Service>> MakeReflectionServices(std::vector<std::string> service_names) {
  for (const char* own : {"grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"}) {
    service_names.emplace_back(own);
  }
  const auto catalogue = std::make_shared<Catalogue>();
  catalogue->service_names = std::move(service_names);
  std::vector<std::unique_ptr<grpc::Service>> services;
  services.push_back(
      std::make_unique<
          ReflectionService<reflection_v1::ServerReflection::CallbackService, reflection_v1::ServerReflectionRequest,
                            reflection_v1::ServerReflectionResponse>>(catalogue));
  services.push_back(std::make_unique<ReflectionService<reflection_v1alpha::ServerReflection::CallbackService,
                                                        reflection_v1alpha::ServerReflectionRequest,
                                                        reflection_v1alpha::ServerReflectionResponse>>(catalogue));
  return services;
}

}  // namespace latentd
