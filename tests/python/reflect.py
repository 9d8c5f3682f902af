"""Lists and calls the services of an aggregator by gRPC reflection alone: no Starling file is read.

Usage: reflect.py HOST:PORT. Prints one JSON object: services, the comment-free schema of one rpc, and answers.
"""

import json
import sys

import grpc
from google.protobuf import json_format
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase


def main(target: str) -> None:
    channel = grpc.insecure_channel(target)
    grpc.channel_ready_future(channel).result(timeout=10)
    database = ProtoReflectionDescriptorDatabase(channel)
    pool = DescriptorPool(database)

    def call(service: str, method: str, request: dict, stream: int = 0):
        descriptor = pool.FindServiceByName(service).methods_by_name[method]
        message = json_format.ParseDict(request, GetMessageClass(descriptor.input_type)())
        path = f"/{service}/{method}"
        answer_class = GetMessageClass(descriptor.output_type)
        kind = channel.unary_stream if descriptor.server_streaming else channel.unary_unary
        rpc = kind(path, request_serializer=lambda m: m.SerializeToString(), response_deserializer=answer_class.FromString)
        if not descriptor.server_streaming:
            return json_format.MessageToDict(rpc(message, timeout=10))
        answers = []
        for answer in rpc(message, timeout=30):
            answers.append(json_format.MessageToDict(answer))
            if len(answers) == stream:
                break
        return answers

    view = pool.FindMessageTypeByName("starling.v1.ClusterView")
    print(
        json.dumps(
            {
                "services": sorted(database.get_services()),
                "cluster_view_fields": [field.name for field in view.fields],
                "cluster": call("starling.v1.Query", "GetCluster", {}),
                "watched": call("starling.v1.Query", "WatchCluster", {}, stream=3),
                "nodes": call("starling.v1.Query", "ListNodes", {}),
                "aggregators": call("starling.v1.Cluster", "ListAggregators", {}),
                "ledger": call("starling.v1.Cluster", "GetLedger", {}),
                "health": call("grpc.health.v1.Health", "Check", {}),
            }
        )
    )


main(sys.argv[1])
