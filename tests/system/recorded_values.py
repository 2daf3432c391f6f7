"""Values recorded by other programs, and what is computed from them."""
import array
import json
import math


def read_safetensors(path):
    """{name: (shape, array)} of a file with I32 and F32 tensors."""
    content = path.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    tensors = {}
    for name, entry in json.loads(content[8:start]).items():
        if name == "__metadata__":
            continue
        values = array.array({"I32": "i", "F32": "f"}[entry["dtype"]])
        first, last = entry["data_offsets"]
        values.frombytes(content[start + first:start + last])
        tensors[name] = (entry["shape"], values)
    return tensors


def log_softmax(logits):
    top = max(logits)
    total = math.log(math.fsum(math.exp(logit - top) for logit in logits))
    return [logit - top - total for logit in logits]
