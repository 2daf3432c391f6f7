"""A collector of traces that takes spans as it is told to: at once, never, in part, or not in time. It knows OTLP's
messages and gRPC's generic handlers only."""
import concurrent.futures
import threading

import grpc

import daemon
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as otlp

EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


class Collector(grpc.GenericRpcHandler):
    """Use as a context. `answer(request, context)` makes the response; None: takes all."""

    def __init__(self, answer=None, address="127.0.0.1:0"):
        self.answer, self.requests, self.lock = answer, [], threading.Lock()
        self.server = grpc.server(concurrent.futures.ThreadPoolExecutor(4), handlers=[self])
        self.port = self.server.add_insecure_port(address)
        self.endpoint = f"http://127.0.0.1:{self.port}"

    def __enter__(self):
        self.server.start()
        return self

    def __exit__(self, *_):
        self.server.stop(None).wait()

    def service(self, details):
        if details.method != EXPORT:
            return None
        return grpc.unary_unary_rpc_method_handler(self.export, otlp.ExportTraceServiceRequest.FromString,
                                                   otlp.ExportTraceServiceResponse.SerializeToString)

    def export(self, request, context):
        with self.lock:
            self.requests.append(request)
        return (self.answer and self.answer(request, context)) or otlp.ExportTraceServiceResponse()

    def spans(self):
        with self.lock:
            return [span for request in self.requests for resource in request.resource_spans
                    for scope in resource.scope_spans for span in scope.spans]

    def await_spans(self, count):
        daemon.wait_until(lambda: len(self.spans()) >= count, f"{count} spans arrive")
        return self.spans()


def value_of(any_value):
    kind = any_value.WhichOneof("value")
    if kind == "array_value":
        return [value_of(element) for element in any_value.array_value.values]
    return getattr(any_value, kind)


def attributes_of(thing):
    return {attribute.key: value_of(attribute.value) for attribute in thing.attributes}
