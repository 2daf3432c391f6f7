"""The API as generated from proto/latentd/v1 when the package was built: messages in *_pb2, stubs in *_pb2_grpc."""
