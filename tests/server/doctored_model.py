"""Copies of the bundled model with something changed in them."""
import json
import shutil
import struct

from daemon import MODEL

# Of bfloat16, whose largest number is 3.39e38.
TWO_E38 = struct.pack("<H", 0x7F16)


def overwrite_tensor(checkpoint, name, change):
    """Lets `change(shape, content)` alter the bytes of one tensor of a safetensors file in place."""
    data = bytearray(checkpoint.read_bytes())
    header_bytes = struct.unpack("<Q", data[:8])[0]
    entry = json.loads(data[8:8 + header_bytes])[name]
    first, last = (8 + header_bytes + offset for offset in entry["data_offsets"])
    content = data[first:last]
    change(entry["shape"], content)
    assert len(content) == last - first
    data[first:last] = content
    checkpoint.write_bytes(data)


def copy_with_overflow(folder, token_id=100, dimension=0):
    """Its logit of `token_id` is 2e38 times one dimension of the hidden state: where that is above 1.7, or below -1.7,
    the logit is not finite. That is so after some prompts, and not after others."""
    shutil.copytree(MODEL, folder)

    def change(shape, content):
        row_bytes = 2 * shape[1]
        row = bytearray(row_bytes)
        row[2 * dimension:2 * dimension + 2] = TWO_E38
        content[row_bytes * token_id:row_bytes * (token_id + 1)] = row

    overwrite_tensor(folder / "model.safetensors", "lm_head.weight", change)
    return folder
